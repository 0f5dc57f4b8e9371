-- Version 11: the search index is a database file of its own.
--
-- The index is built from `messages` and follows them. This table holds only the changes that it must not miss. A row has
-- no content: the index reads the current text of the message.
CREATE TABLE search_changes (
    -- The event of an edit or an erasure.
    op INTEGER PRIMARY KEY,
    -- The seq of the message.
    message INTEGER NOT NULL
) STRICT;

-- A million messages make 400 MB of the old index. Its large tables are renamed here and erased in small steps while the
-- server runs. The rest of the virtual table is dropped at once.
ALTER TABLE search_data RENAME TO search_retired_data;
ALTER TABLE search_content RENAME TO search_retired_content;
ALTER TABLE search_docsize RENAME TO search_retired_docsize;
DROP TABLE search;
DROP TABLE search_state;
