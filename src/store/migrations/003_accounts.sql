-- Version 3: places of sessions, the newest change of a profile, names to search by.

-- Where a session's address was found to be, in words; NULL where nobody knows.
ALTER TABLE sessions ADD COLUMN place TEXT;
