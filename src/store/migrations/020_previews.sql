-- Version 20: previews of uploads, and what their owners say about them.

-- A small picture, bound to the upload. Its bytes are a file as any other; they count in the quota.
ALTER TABLE uploads ADD COLUMN preview INTEGER REFERENCES files (key);
CREATE INDEX uploads_of_preview ON uploads (preview) WHERE preview IS NOT NULL;
ALTER TABLE uploads ADD COLUMN alt TEXT;
ALTER TABLE uploads ADD COLUMN duration_ms INTEGER;

-- In a path the name of every preview: files are not named so any more.
UPDATE uploads SET name = 'file' WHERE name = 'preview';
