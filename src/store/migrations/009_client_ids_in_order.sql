-- Version 9: posts of many senders share the pages of an index.
--
-- UNIQUE (sender, client_id) had the newest entry of each sender on another page: a batch wrote as many pages of the index
-- as it had senders. A client_id is a ULID, and the newest ULIDs are the greatest: with the client_id first, all entries
-- of a batch are at the end of the index. The rule is the same, and so is the lookup of one client_id of one sender.

-- Profiles that left a conversation or were removed from it. A profile that came back has a row here and a membership.
-- Together with the memberships this says where a profile may have posted: no index leads from a sender to its messages.
-- A deleted account has rows here only while its messages are being erased.
CREATE TABLE departures (
    profile INTEGER NOT NULL REFERENCES profiles (key),
    conversation INTEGER NOT NULL REFERENCES conversations (key),
    PRIMARY KEY (profile, conversation)
) STRICT, WITHOUT ROWID;
-- One pass in the order of the rows: through an index, each row would be on another page.
INSERT INTO departures (profile, conversation)
SELECT d.sender, d.conversation FROM (SELECT DISTINCT sender, conversation FROM messages NOT INDEXED) d
JOIN profiles p ON p.key = d.sender
WHERE (p.member IS NOT NULL OR p.key IN (SELECT profile FROM erasures))
AND NOT EXISTS (SELECT 1 FROM memberships s WHERE s.profile = d.sender AND s.conversation = d.conversation);

-- Each row is its own message.posted event. The writer has looked up `conversation` and `sender` before it
-- inserts: declared foreign keys would look both up again for every message.
CREATE TABLE new_messages (
    seq INTEGER PRIMARY KEY,
    -- The upper half of the id: created_at (48 bits) and 16 random ones. The lower half is `seq`.
    id_high INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    client_id BLOB NOT NULL,
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
    UNIQUE (client_id, sender)
) STRICT;
INSERT INTO new_messages
    (seq, id_high, conversation, n, sender, client_id, reply_to, rev, edited_at, deleted_at, has_files, body)
SELECT seq, id_high, conversation, n, sender, client_id, reply_to, rev, edited_at, deleted_at, has_files, body
FROM messages ORDER BY seq;
-- In this order, so that `reactions` keeps referring to the name `messages`.
DROP TABLE messages;
ALTER TABLE new_messages RENAME TO messages;

-- Deleted members whose messages are being turned into tombstones, one step at a time. An erasure in progress begins
-- again, and skips the tombstones.
CREATE TABLE new_erasures (
    profile INTEGER PRIMARY KEY REFERENCES profiles (key),
    -- Everything up to this `n` of this conversation is done, and every conversation of a lesser key.
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL
) STRICT;
INSERT INTO new_erasures (profile, conversation, n) SELECT profile, 0, 0 FROM erasures;
DROP TABLE erasures;
ALTER TABLE new_erasures RENAME TO erasures;
