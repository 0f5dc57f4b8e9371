-- Version 23: the files of a conversation, by their kind and position.

CREATE TABLE attachments_placed (
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    upload INTEGER NOT NULL REFERENCES uploads (key),
    -- Of the message.
    conversation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    -- 0: a picture or a film, 1: a sound, 2: any other.
    kind INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
INSERT INTO attachments_placed
    SELECT a.message, a.place, a.upload, m.conversation, m.n,
        CASE WHEN f.mime LIKE 'image/%' OR f.mime LIKE 'video/%' THEN 0 WHEN f.mime LIKE 'audio/%' THEN 1 ELSE 2 END
    FROM attachments a JOIN messages m ON m.seq = a.message
    JOIN uploads u ON u.key = a.upload JOIN files f ON f.key = u.file;
DROP TABLE attachments;
ALTER TABLE attachments_placed RENAME TO attachments;
CREATE INDEX attachments_of_upload ON attachments (upload);
CREATE INDEX attachments_of_conversation ON attachments (conversation, kind, n, place);
