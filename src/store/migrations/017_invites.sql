-- Version 17: invites to the server and to groups.

CREATE TABLE invites (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- SHA-256 of the code: the code itself is in the link only.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- NULL for the operator. The invites of a deleted member end.
    maker INTEGER REFERENCES members (key) ON DELETE CASCADE,
    -- NULL for an invite to the server.
    conversation INTEGER REFERENCES conversations (key),
    uses INTEGER NOT NULL,
    uses_max INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK (uses <= uses_max)
) STRICT;
CREATE INDEX invites_of_maker ON invites (maker);
CREATE INDEX invites_of_conversation ON invites (conversation);

-- Whether an admin removed the profile from the group: then no invite lets it in again.
ALTER TABLE departures ADD COLUMN removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1));
