-- Version 11: the search index is a database file of its own.
--
-- It is made from `messages` and follows them; here is only what it must not miss. The rows have no content: a message is
-- indexed anew as it is then.
CREATE TABLE search_changes (
    -- The event of an edit or an erasure.
    op INTEGER PRIMARY KEY,
    -- The seq of the message.
    message INTEGER NOT NULL
) STRICT;

-- A million messages make 400 MB of the old index. What is large is put aside here, and erased in small steps while the
-- server runs; what is left of the virtual table drops at once.
ALTER TABLE search_data RENAME TO search_retired_data;
ALTER TABLE search_content RENAME TO search_retired_content;
ALTER TABLE search_docsize RENAME TO search_retired_docsize;
DROP TABLE search;
DROP TABLE search_state;
