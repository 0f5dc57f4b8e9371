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
    expires_at INTEGER NOT NULL,
    -- The id of the admin who made it; NULL for the operator.
    maker BLOB CHECK (length(maker) = 16)
) STRICT;
-- Whatever sets a password, promotes or disables the member, ends it.
CREATE TRIGGER reset_links_end_with_the_password AFTER UPDATE OF hash, admin, active ON members BEGIN
    DELETE FROM reset_links WHERE member = NEW.key;
END;
-- So does what ends the rights of its maker.
CREATE TRIGGER reset_links_end_with_the_rights AFTER UPDATE OF admin, active ON members
WHEN NOT (NEW.admin AND NEW.active) BEGIN
    DELETE FROM reset_links WHERE maker = NEW.id;
END;
CREATE TRIGGER reset_links_end_with_the_maker AFTER DELETE ON members BEGIN
    DELETE FROM reset_links WHERE maker = OLD.id;
END;

-- Groups whose messages are being erased: those through n are.
CREATE TABLE group_erasures (
    conversation INTEGER PRIMARY KEY REFERENCES conversations (key),
    n INTEGER NOT NULL
) STRICT;
