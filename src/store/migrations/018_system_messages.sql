-- Version 18: system messages.

-- A system message tells of a change of its group: a row of `messages` without a text, whose `has_files` is 2. Its `n` is in
-- `tombstones` too: these are the messages that nobody has unread.
CREATE TABLE system_messages (
    message INTEGER PRIMARY KEY REFERENCES messages (seq),
    -- Which change: see `store/system_messages.rs`.
    kind INTEGER NOT NULL,
    -- How many profiles it is about. Only the first of them have rows.
    count INTEGER NOT NULL,
    -- The new title of a group.
    title TEXT
) STRICT;

CREATE TABLE system_message_profiles (
    message INTEGER NOT NULL REFERENCES messages (seq),
    place INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (key),
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
