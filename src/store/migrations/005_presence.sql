-- Version 5: when a profile was last online. Whether it is now is known to the server alone.
ALTER TABLE profiles ADD COLUMN last_seen_at INTEGER;
