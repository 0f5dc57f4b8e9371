-- Version 13: the tombstones of a conversation are also counted in blocks of 1,024 messages.
--
-- A member with a million tombstones after the read mark would otherwise have each of them counted with each mark.
CREATE TABLE tombstone_blocks (
    conversation INTEGER NOT NULL REFERENCES conversations (key),
    block INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (conversation, block)
) STRICT, WITHOUT ROWID;

INSERT INTO tombstone_blocks (conversation, block, count)
    SELECT conversation, n >> 10, count(*) FROM tombstones GROUP BY conversation, n >> 10;
