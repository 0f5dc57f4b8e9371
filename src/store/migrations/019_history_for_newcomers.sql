-- Version 19: whether newcomers of a group see what was said before they joined.

-- 0: they see everything; 1: from their joining on.
ALTER TABLE conversations ADD COLUMN history INTEGER NOT NULL DEFAULT 0;
-- A member sees no message of the conversation with a smaller n.
ALTER TABLE memberships ADD COLUMN first_n INTEGER NOT NULL DEFAULT 0;
