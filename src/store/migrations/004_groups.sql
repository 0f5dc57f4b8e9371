-- Version 4: groups, and changes of messages.

-- 0 member, 1 admin. A direct conversation has no admins.
ALTER TABLE memberships ADD COLUMN role INTEGER NOT NULL DEFAULT 0;
ALTER TABLE memberships ADD COLUMN joined_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE memberships ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;

-- Identifies a repeated conversation.create.
ALTER TABLE conversations ADD COLUMN creator INTEGER REFERENCES profiles (key);
ALTER TABLE conversations ADD COLUMN client_id BLOB;
CREATE UNIQUE INDEX conversations_of_client ON conversations (creator, client_id) WHERE client_id IS NOT NULL;

-- Events of a conversation that are not messages: its members receive them.
ALTER TABLE log ADD COLUMN conversation INTEGER REFERENCES conversations (key);
CREATE INDEX log_of_conversation ON log (conversation, seq) WHERE conversation IS NOT NULL;

CREATE TABLE reactions (
    message INTEGER NOT NULL REFERENCES messages (seq),
    emoji TEXT NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (key),
    -- The event that told of it: the order in which they came.
    seq INTEGER NOT NULL,
    PRIMARY KEY (message, emoji, profile)
) STRICT, WITHOUT ROWID;

-- Deleted messages. A message after a read mark is unread unless it is here.
CREATE TABLE tombstones (
    conversation INTEGER NOT NULL REFERENCES conversations (key),
    n INTEGER NOT NULL,
    PRIMARY KEY (conversation, n)
) STRICT, WITHOUT ROWID;
