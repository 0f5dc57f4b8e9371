-- Version 22: pinned messages.

CREATE TABLE pins (
    message INTEGER PRIMARY KEY REFERENCES messages (seq),
    conversation INTEGER NOT NULL REFERENCES conversations (key)
) STRICT;
CREATE INDEX pins_of_conversation ON pins (conversation);
