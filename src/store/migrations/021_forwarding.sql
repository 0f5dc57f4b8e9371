-- Version 21: forwarded files.

-- Whose bytes on disk a file has: the id of the file that was uploaded. NULL: its own.
ALTER TABLE files ADD COLUMN bytes_of BLOB CHECK (length(bytes_of) = 16);
CREATE INDEX files_of_bytes ON files (bytes_of) WHERE bytes_of IS NOT NULL;

-- How many uploads an owner has, counted with their bytes.
ALTER TABLE upload_usage ADD COLUMN files INTEGER NOT NULL DEFAULT 0;
UPDATE upload_usage SET files =
    (SELECT count(*) FROM files f JOIN uploads u ON u.file = f.key WHERE f.owner = upload_usage.owner);
