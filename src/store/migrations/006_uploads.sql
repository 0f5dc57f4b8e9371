-- Version 6: uploads, and where they are shown.

-- Bytes on disk, `UPLOADS/<aa>/<id>`: equal bytes of one owner are stored once.
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

-- Bytes of all uploads of an owner. Each upload counts completely, also if it shares its file with another.
CREATE TABLE upload_usage (
    owner INTEGER PRIMARY KEY REFERENCES profiles (key),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

-- Files whose last upload was deleted, until they are removed from the disk.
CREATE TABLE erased_files (
    id BLOB PRIMARY KEY CHECK (length(id) = 16)
) STRICT, WITHOUT ROWID;

-- The attachments of messages. A row is inserted before its message, in the same transaction: no foreign key.
CREATE TABLE attachments (
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    upload INTEGER NOT NULL REFERENCES uploads (key),
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_of_upload ON attachments (upload);

-- Whether a message has attachments: one byte in each message, so that a plain text needs no lookup.
ALTER TABLE messages ADD COLUMN has_files INTEGER;

ALTER TABLE profiles ADD COLUMN image INTEGER REFERENCES uploads (key);
CREATE INDEX profiles_of_image ON profiles (image) WHERE image IS NOT NULL;
ALTER TABLE conversations ADD COLUMN image INTEGER REFERENCES uploads (key);
CREATE INDEX conversations_of_image ON conversations (image) WHERE image IS NOT NULL;
