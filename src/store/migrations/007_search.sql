-- Version 7: search.
--
-- A plain FTS5 table keeps its own copy of the folded texts. An external-content table would need the exact old text for
-- each removal, and a contentless table keeps deleted texts. `scope` holds the conversation, so that a search reads
-- the lists of the viewer's conversations only.
CREATE VIRTUAL TABLE search USING fts5 (body, scope, tokenize = "unicode61 remove_diacritics 2");
-- A removed term is overwritten at once, not with the next merge.
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);

CREATE TABLE search_state (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Messages up to this seq are indexed.
    through INTEGER NOT NULL
) STRICT;
INSERT INTO search_state VALUES (1, 0);
