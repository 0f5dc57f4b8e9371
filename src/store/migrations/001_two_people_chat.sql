-- Version 1: accounts, sessions, direct conversations, messages, the event log.
--
-- Rows have an integer `key` inside the database and a 16-byte ULID outside of it: an integer key
-- is 1 to 4 bytes in every row and index entry that refers to it.
-- Where later parts belong: an edit, a reaction or a membership change is a row of `log` with the key of its
-- conversation. Attachments, reactions and tombstone counts are tables next to `messages`, never columns of
-- its hot rows. Codes, outbox and uploads refer to `members (key)`. A search index is FTS5 by `seq`.

CREATE TABLE state (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Names this history in cursors; empty until the first start.
    epoch TEXT NOT NULL,
    -- 0 closed in order; 1 open with synchronous=FULL, 2 with NORMAL.
    running INTEGER NOT NULL,
    -- The log's head where no row of `messages` or `log` says so: a floor.
    head INTEGER NOT NULL,
    -- Events up to here are no longer kept.
    pruned INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, '', 0, 0, 0);

CREATE TABLE members (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- In lower case.
    email TEXT NOT NULL UNIQUE,
    -- A PHC string.
    hash TEXT NOT NULL,
    verified INTEGER NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- The profile of a deleted member stays, as the nameless sender of its messages.
CREATE TABLE profiles (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    member INTEGER UNIQUE REFERENCES members (key) ON DELETE SET NULL,
    display_name TEXT NOT NULL,
    nick_name TEXT COLLATE NOCASE UNIQUE,
    is_private INTEGER NOT NULL,
    presence INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE blocks (
    blocker INTEGER NOT NULL REFERENCES profiles (key),
    blocked INTEGER NOT NULL REFERENCES profiles (key),
    PRIMARY KEY (blocker, blocked)
) STRICT, WITHOUT ROWID;

-- Sessions that have not ended. Times are Unix ms, expiries and `issued` Unix s.
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    member INTEGER NOT NULL REFERENCES members (key) ON DELETE CASCADE,
    access_uuid BLOB NOT NULL,
    refresh_uuid BLOB NOT NULL,
    -- The refresh token exchanged last, until its successor is presented.
    prior_refresh_uuid BLOB,
    rotated_at INTEGER,
    unique_id TEXT,
    user_agent TEXT NOT NULL,
    address TEXT NOT NULL,
    issued INTEGER NOT NULL,
    access_expire INTEGER NOT NULL,
    refresh_expire INTEGER NOT NULL,
    -- The greatest `exp` among all its access tokens.
    access_until INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_member ON sessions (member);

-- The devices of each member: SHA-256 of a device id, or of the user agent if there was no device id. A sign-in from an
-- unknown device sends a mail. A known device may try more wrong passwords.
CREATE TABLE devices (
    member INTEGER NOT NULL REFERENCES members (key) ON DELETE CASCADE,
    device BLOB NOT NULL CHECK (length(device) = 32),
    PRIMARY KEY (member, device)
) STRICT, WITHOUT ROWID;

-- Ended sessions of which an access token may still be valid.
CREATE TABLE ended_sessions (
    until INTEGER NOT NULL,
    session BLOB NOT NULL,
    PRIMARY KEY (until, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- 0 direct, 1 group.
    kind INTEGER NOT NULL CHECK (kind IN (0, 1)),
    -- The two of a direct conversation, in the order of their keys.
    low INTEGER REFERENCES profiles (key),
    high INTEGER REFERENCES profiles (key),
    title TEXT,
    members_count INTEGER NOT NULL,
    last_n INTEGER NOT NULL,
    -- The newest event its members hear.
    last_seq INTEGER NOT NULL,
    -- Its last message, or its making: what lists are ordered by.
    activity INTEGER NOT NULL,
    CHECK (kind = 1 OR low < high),
    UNIQUE (low, high)
) STRICT;

CREATE TABLE memberships (
    key INTEGER PRIMARY KEY,
    profile INTEGER NOT NULL REFERENCES profiles (key),
    conversation INTEGER NOT NULL REFERENCES conversations (key),
    -- Its log of this conversation begins behind this seq.
    joined_seq INTEGER NOT NULL,
    -- Never less than the n of its own last message, so that unread = last_n - read_n.
    read_n INTEGER NOT NULL,
    -- The seq of its newest conversation.read, 0 without one: the event is this column.
    read_seq INTEGER NOT NULL,
    UNIQUE (profile, conversation)
) STRICT;
CREATE INDEX memberships_of_conversation ON memberships (conversation);

-- Each row is its own message.posted event. The writer has looked up `conversation` and `sender` before it
-- inserts: declared foreign keys would look both up again for every message.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    -- The upper half of the id: created_at (48 bits) and 16 random ones. The lower half is `seq`.
    id_high INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    client_id BLOB NOT NULL,
    -- The seq of a message of the same conversation.
    reply_to INTEGER,
    -- The seq of the last change, where there was one.
    rev INTEGER,
    edited_at INTEGER,
    deleted_at INTEGER,
    body TEXT,
    UNIQUE (conversation, n),
    UNIQUE (sender, client_id)
) STRICT;

-- Every durable event that is neither a message.posted nor a conversation.read: its kind and ids, no content.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    profile INTEGER REFERENCES profiles (key),
    subject BLOB
) STRICT;
CREATE INDEX log_of_profile ON log (profile, seq) WHERE profile IS NOT NULL;
