-- Version 6: uploads, and where they are shown.

-- Bytes on disk, `UPLOADS/<aa>/<id>`: equal bytes of one owner once.
CREATE TABLE files (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    owner INTEGER NOT NULL REFERENCES profiles (key),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    size INTEGER NOT NULL,
    -- Told by the bytes.
    mime TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    UNIQUE (owner, sha256)
) STRICT;

CREATE TABLE uploads (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    file INTEGER NOT NULL REFERENCES files (key),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_of_file ON uploads (file);

-- Bytes of all uploads of an owner, each counted whole.
CREATE TABLE upload_usage (
    owner INTEGER PRIMARY KEY REFERENCES profiles (key),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

-- Files whose last upload is gone, until they are gone from the disk too.
CREATE TABLE erased_files (
    id BLOB PRIMARY KEY CHECK (length(id) = 16)
) STRICT, WITHOUT ROWID;

-- What messages show. A row stands a moment before its message does, in the same transaction: no foreign key.
CREATE TABLE attachments (
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    upload INTEGER NOT NULL REFERENCES uploads (key),
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_of_upload ON attachments (upload);

-- Whether a message has rows there: one byte of each message, and nobody asks for those of a plain text.
ALTER TABLE messages ADD COLUMN has_files INTEGER;

ALTER TABLE profiles ADD COLUMN image INTEGER REFERENCES uploads (key);
CREATE INDEX profiles_of_image ON profiles (image) WHERE image IS NOT NULL;
ALTER TABLE conversations ADD COLUMN image INTEGER REFERENCES uploads (key);
CREATE INDEX conversations_of_image ON conversations (image) WHERE image IS NOT NULL;
