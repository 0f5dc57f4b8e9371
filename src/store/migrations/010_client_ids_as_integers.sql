-- Version 10: a client_id is two integers.
--
-- A search in an index whose first column is an integer compares integers. With a blob first it compares complete records,
-- for each post and at each level. A client_id is stored as its halves of 64 bits, in two's complement, as `id_high` is.

-- Each row is its own message.posted event. The writer has looked up `conversation` and `sender` before it
-- inserts: declared foreign keys would look both up again for every message.
CREATE TABLE new_messages (
    seq INTEGER PRIMARY KEY,
    -- The upper half of the id: created_at (48 bits) and 16 random ones. The lower half is `seq`.
    id_high INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    -- The newest ULIDs are the greatest: led by the half with the time, what a batch of many senders adds to the index
    -- stands together at its end.
    client_high INTEGER NOT NULL,
    client_low INTEGER NOT NULL,
    -- The seq of a message of the same conversation.
    reply_to INTEGER,
    -- The seq of the last change, where there was one.
    rev INTEGER,
    edited_at INTEGER,
    deleted_at INTEGER,
    -- Whether it has rows in `attachments`: one byte of each message, and nobody asks for those of a plain text.
    has_files INTEGER,
    -- Last, since a long one goes on in overflow pages, and what stands behind it is found by way of them.
    body TEXT,
    UNIQUE (conversation, n),
    UNIQUE (client_high, client_low, sender)
) STRICT;
-- SQL can't convert a blob to an integer: each byte is looked up in a list of all bytes. `<<` and `|` are evaluated from
-- left to right, and the bit shifted to the top is the sign. Natter never wrote a client_id of another length than 16
-- bytes. Such a value becomes NULL, which the column refuses, so that the step fails and nothing is guessed.
INSERT INTO new_messages
    (seq, id_high, conversation, n, sender, client_high, client_low, reply_to, rev, edited_at, deleted_at, has_files, body)
SELECT seq, id_high, conversation, n, sender,
    iif(length(client_id) = 16, 0, NULL)
        << 8 | instr(byte, substr(client_id, 1, 1)) - 1
        << 8 | instr(byte, substr(client_id, 2, 1)) - 1
        << 8 | instr(byte, substr(client_id, 3, 1)) - 1
        << 8 | instr(byte, substr(client_id, 4, 1)) - 1
        << 8 | instr(byte, substr(client_id, 5, 1)) - 1
        << 8 | instr(byte, substr(client_id, 6, 1)) - 1
        << 8 | instr(byte, substr(client_id, 7, 1)) - 1
        << 8 | instr(byte, substr(client_id, 8, 1)) - 1,
    iif(length(client_id) = 16, 0, NULL)
        << 8 | instr(byte, substr(client_id, 9, 1)) - 1
        << 8 | instr(byte, substr(client_id, 10, 1)) - 1
        << 8 | instr(byte, substr(client_id, 11, 1)) - 1
        << 8 | instr(byte, substr(client_id, 12, 1)) - 1
        << 8 | instr(byte, substr(client_id, 13, 1)) - 1
        << 8 | instr(byte, substr(client_id, 14, 1)) - 1
        << 8 | instr(byte, substr(client_id, 15, 1)) - 1
        << 8 | instr(byte, substr(client_id, 16, 1)) - 1,
    reply_to, rev, edited_at, deleted_at, has_files, body
FROM messages, (
    SELECT unhex(
        '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'
        || '202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f'
        || '404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f'
        || '606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f'
        || '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
        || 'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf'
        || 'c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf'
        || 'e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'
    ) AS byte
) ORDER BY seq;
-- In this order, so that `reactions` keeps referring to the name `messages`.
DROP TABLE messages;
ALTER TABLE new_messages RENAME TO messages;
