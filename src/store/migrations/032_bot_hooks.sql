-- Version 32: outgoing hooks of bots.

CREATE TABLE bot_hooks (
    member INTEGER PRIMARY KEY REFERENCES members (key) ON DELETE CASCADE,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    url TEXT NOT NULL,
    -- The key of the signatures.
    secret BLOB NOT NULL CHECK (length(secret) = 32),
    -- All events up to this seq, of the log of this epoch, were accepted.
    epoch TEXT NOT NULL,
    through INTEGER NOT NULL,
    -- Calls that failed since one was accepted.
    failures INTEGER NOT NULL,
    -- No call is made before this time. Unix ms.
    retry_at INTEGER NOT NULL,
    -- Why the last call failed; NULL if it was accepted.
    error TEXT,
    created_at INTEGER NOT NULL
) STRICT;
