-- Version 27: the column says more than whether a message has files.

-- NULL for nearly all messages; else 1 (has files) and 4 (was forwarded) added, or 2 (a system message) alone.
ALTER TABLE messages RENAME COLUMN has_files TO flags;
