-- Version 25: what members set of a conversation for themselves.

-- NULL: a muted conversation is muted without end.
ALTER TABLE memberships ADD COLUMN muted_until INTEGER;
ALTER TABLE memberships ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE memberships ADD COLUMN marked_unread INTEGER NOT NULL DEFAULT 0;
-- The last n when the member archived or hid the conversation. A later message returns it, and writes no row of a member.
ALTER TABLE memberships ADD COLUMN archived_n INTEGER;
ALTER TABLE memberships ADD COLUMN hidden_n INTEGER;
