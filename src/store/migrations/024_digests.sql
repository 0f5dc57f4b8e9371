-- Version 24: mails about what is unread.

-- Who wants one a day at most, or did. A row each, so that nobody else is looked at.
CREATE TABLE digests (
    member INTEGER PRIMARY KEY REFERENCES members (key) ON DELETE CASCADE,
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    language TEXT NOT NULL,
    -- When the last one was written, Unix ms; 0 for none yet.
    written_at INTEGER NOT NULL
) STRICT;
