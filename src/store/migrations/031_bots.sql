-- Version 31: bots and their tokens.

-- A member without a password: its address is a text that no address can be.
ALTER TABLE members ADD COLUMN bot INTEGER NOT NULL DEFAULT 0 CHECK (bot IN (0, 1));
CREATE INDEX bots ON members (key) WHERE bot;

-- A token is a session without an end, whose user agent is the name of the token.
CREATE TABLE bot_tokens (
    session INTEGER PRIMARY KEY REFERENCES sessions (key) ON DELETE CASCADE,
    -- SHA-256 of the token: the token itself is shown once.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- An incoming hook posts to this conversation only. NULL for a bearer token.
    conversation INTEGER REFERENCES conversations (key)
) STRICT;
