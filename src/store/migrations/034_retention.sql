-- Version 34: messages and uploads may be kept for a time only.

-- Days that the messages of a group are kept; NULL: as long as those of the others.
ALTER TABLE conversations ADD COLUMN messages_kept INTEGER;
-- All messages up to this n are tombstones, since their time was over.
ALTER TABLE conversations ADD COLUMN erased_n INTEGER NOT NULL DEFAULT 0;
CREATE INDEX conversations_of_kept ON conversations (key) WHERE messages_kept IS NOT NULL;
CREATE INDEX uploads_of_age ON uploads (created_at);
