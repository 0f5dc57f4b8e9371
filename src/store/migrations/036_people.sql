-- Version 36: what admins did, what members reported, links to set a password, groups that are being deleted.

-- One row for each act of an admin or of the operator. Only ids, so that nothing of a deleted account stays but its id.
CREATE TABLE audit (
    key INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    -- The id of a member, which may be deleted; NULL for the operator.
    who BLOB CHECK (length(who) = 16),
    act TEXT NOT NULL,
    -- The id of a member, a conversation, a message, an invite, a session or a report.
    whom BLOB CHECK (length(whom) = 16),
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'an act is not changed');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'an act is not deleted');
END;

-- A report that is closed is deleted.
CREATE TABLE reports (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    -- A deleted account leaves its profile.
    reporter INTEGER NOT NULL REFERENCES profiles (key),
    person INTEGER NOT NULL REFERENCES profiles (key),
    -- NULL for a report of a person. The message may be erased.
    message BLOB CHECK (length(message) = 16),
    body TEXT NOT NULL,
    -- A line for each file.
    files TEXT NOT NULL,
    posted_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX reports_of_reporter ON reports (reporter);
CREATE INDEX reports_in_time ON reports (at);

CREATE TABLE reset_links (
    member INTEGER PRIMARY KEY REFERENCES members (key) ON DELETE CASCADE,
    -- SHA-256 of the code: the code itself is in the link only.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    expires_at INTEGER NOT NULL
) STRICT;

-- Groups whose messages are being erased: those through n are.
CREATE TABLE group_erasures (
    conversation INTEGER PRIMARY KEY REFERENCES conversations (key),
    n INTEGER NOT NULL
) STRICT;
