-- Version 5: when a profile was last online. Only the server knows whether it is online now.
ALTER TABLE profiles ADD COLUMN last_seen_at INTEGER;
