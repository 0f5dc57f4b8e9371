-- Version 29: an operator lets a node skip an entry of the log.

-- The last entry that is or was to be skipped; no row for none.
CREATE TABLE skip (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    position INTEGER NOT NULL,
    -- The hash of all entries up to it, as a node has it that does not skip it. It tells this entry from one of another log.
    chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;
