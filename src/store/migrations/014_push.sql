-- Version 14: subscriptions to notifications.

-- One of a session, which ends with it: the address and the keys of a browser at its push service.
CREATE TABLE push_subscriptions (
    session INTEGER PRIMARY KEY REFERENCES sessions (key) ON DELETE CASCADE,
    endpoint TEXT NOT NULL,
    public BLOB NOT NULL CHECK (length(public) = 65),
    auth BLOB NOT NULL CHECK (length(auth) = 16),
    -- 0 nothing, 1 who and where, 2 with the text.
    level INTEGER NOT NULL CHECK (level IN (0, 1, 2)),
    -- Only later messages are pushed.
    since INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- All notifications up to this seq were sent.
ALTER TABLE state ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0;
