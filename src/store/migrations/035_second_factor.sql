-- Version 35: a second factor of members.

CREATE TABLE second_factors (
    member INTEGER PRIMARY KEY REFERENCES members (key) ON DELETE CASCADE,
    -- The secret, sealed with a key of the server, in base64url.
    sealed TEXT NOT NULL,
    -- The time step of the last code that was used.
    step INTEGER NOT NULL
) STRICT;

-- Codes that were not used yet, each as an HMAC.
CREATE TABLE recovery_codes (
    member INTEGER NOT NULL REFERENCES members (key) ON DELETE CASCADE,
    tag BLOB NOT NULL CHECK (length(tag) = 32),
    PRIMARY KEY (member, tag)
) STRICT, WITHOUT ROWID;
