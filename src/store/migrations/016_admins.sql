-- Version 16: admins of the server.

ALTER TABLE members ADD COLUMN admin INTEGER NOT NULL DEFAULT 0 CHECK (admin IN (0, 1));
