-- Version 15: whom messages mention.

-- A row of each mentioned member. A row is inserted before its message, in the same transaction: no foreign key. Only messages with
-- an `@` in their text have rows, so that all others need no lookup and no column.
CREATE TABLE mentions (
    message INTEGER NOT NULL,
    -- 0 for all members, which is one row however many they are.
    profile INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (message, profile)
) STRICT, WITHOUT ROWID;
-- What is after a read mark is unread: it is counted up to a bound, and no counter has to follow deletions and edits.
CREATE INDEX mentions_of_profile ON mentions (profile, conversation, n);
