-- Version 26: a digest knows that its member was here, also after the session was ended.

-- The newest time at which a session of the member ended, Unix ms; 0 for none.
ALTER TABLE digests ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
