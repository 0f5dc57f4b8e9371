-- Version 2: codes, and the outbox of mails.

-- Counts the writes that are made only to reach the disk: a write that changes no byte does not reach it.
ALTER TABLE state ADD COLUMN touched INTEGER NOT NULL DEFAULT 0;

-- The newest code of each account and purpose, and when recent codes were made. A request for an address without an
-- account does the same work on a row of its own kind, so that neither the answer nor its time shows the difference.
CREATE TABLE codes (
    -- A member's key; below zero one of a fixed number of places for addresses that nobody has.
    subject INTEGER NOT NULL,
    -- 1 verify, 2 reset.
    purpose INTEGER NOT NULL,
    -- Whose row this is: an HMAC, since many addresses share a place below zero.
    holder BLOB NOT NULL CHECK (length(holder) = 16),
    -- HMAC of the code; empty once it is used up.
    tag BLOB NOT NULL CHECK (length(tag) IN (0, 32)),
    tries INTEGER NOT NULL,
    -- Unix ms of the last codes made, 8 bytes each, big-endian, newest first.
    made BLOB NOT NULL CHECK (length(made) BETWEEN 8 AND 40),
    PRIMARY KEY (subject, purpose)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER codes_of_member AFTER DELETE ON members BEGIN
    DELETE FROM codes WHERE subject = old.key;
END;

-- Mails to be sent. Written in the transaction of their cause, erased once they are sent or given up. The address is the
-- member's, read when the mail is sent. A code is sealed with a key that is not in this file.
CREATE TABLE outbox (
    key INTEGER PRIMARY KEY,
    -- The Message-ID: the same for every try.
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- NULL: for nobody, and erased without a mail.
    member INTEGER REFERENCES members (key) ON DELETE CASCADE,
    -- 1 verification code, 2 reset code, 3 new device, 4 password changed.
    kind INTEGER NOT NULL,
    -- `en` or `ar`.
    language TEXT NOT NULL,
    -- Unix ms, all three.
    written_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    sealed_code INTEGER,
    -- Of a new device.
    session BLOB CHECK (session IS NULL OR length(session) = 16),
    address TEXT,
    user_agent TEXT,
    place TEXT
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at);
CREATE INDEX outbox_of_member ON outbox (member, kind);
CREATE INDEX outbox_of_session ON outbox (session) WHERE session IS NOT NULL;
