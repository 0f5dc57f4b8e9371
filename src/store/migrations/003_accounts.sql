-- Version 3: places of sessions, the newest change of a profile, names to search by.

-- The place of a session's address, in words; NULL if unknown.
ALTER TABLE sessions ADD COLUMN place TEXT;

-- The display name in lower case, for searches. Existing names are folded as far as SQL can (ASCII); the next change of
-- the name folds the rest.
ALTER TABLE profiles ADD COLUMN name_key TEXT NOT NULL DEFAULT '';
UPDATE profiles SET name_key = lower(display_name);
CREATE INDEX profiles_by_name ON profiles (name_key);

-- The seq of its newest profile.updated that direct peers receive; 0 without one.
ALTER TABLE profiles ADD COLUMN updated_seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX profiles_by_update ON profiles (updated_seq);

-- The list of blocks is in the order of the rows, which is the order in time.
ALTER TABLE blocks RENAME TO keyless_blocks;
CREATE TABLE blocks (
    key INTEGER PRIMARY KEY,
    blocker INTEGER NOT NULL REFERENCES profiles (key),
    blocked INTEGER NOT NULL REFERENCES profiles (key),
    UNIQUE (blocker, blocked)
) STRICT;
INSERT INTO blocks (blocker, blocked) SELECT blocker, blocked FROM keyless_blocks;
DROP TABLE keyless_blocks;
CREATE INDEX blocks_of_blocked ON blocks (blocked);

-- The events of profiles that other profiles receive, for peers that catch up: 9 is profile.updated.
CREATE INDEX log_of_updates ON log (profile, seq) WHERE kind = 9;

-- Deleted members whose messages are being turned into tombstones, one step at a time.
CREATE TABLE erasures (
    profile INTEGER PRIMARY KEY REFERENCES profiles (key),
    -- Everything up to this client_id is done.
    done BLOB NOT NULL
) STRICT;
