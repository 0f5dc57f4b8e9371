-- Version 28: several natters apply one log.

-- How far this database has applied the log of its cluster; no row for a natter alone.
CREATE TABLE place (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Names the log.
    log TEXT NOT NULL,
    -- Of the last entry that was applied; 0 for none.
    position INTEGER NOT NULL,
    -- The hash of all entries up to there.
    chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;

-- The nodes that have written to the log.
CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    -- The last life that began. An entry of another one is ignored.
    life BLOB NOT NULL CHECK (length(life) = 16),
    -- The number of its last entry.
    last_n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The node that does what must happen once; no row until one has asked for it.
CREATE TABLE duty (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    node TEXT NOT NULL,
    -- Unix ms of the log.
    until INTEGER NOT NULL
) STRICT;
