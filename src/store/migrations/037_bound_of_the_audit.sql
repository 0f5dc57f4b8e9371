-- Version 37: of the log of acts, the newest 100,000 rows are kept. Keys have no gaps, as only the oldest row is ever deleted.

DROP TRIGGER audit_is_not_deleted;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN OLD.key > (SELECT max(key) FROM audit) - 100000 BEGIN
    SELECT RAISE(ABORT, 'an act is not deleted');
END;
