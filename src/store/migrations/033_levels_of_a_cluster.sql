-- Version 33: a cluster goes from level to level.

-- What is applied at the next entry of the log, and the schema.
ALTER TABLE place ADD COLUMN level INTEGER NOT NULL DEFAULT 1;

-- The highest level that the last life of the node knows; 0 for a node that is gone for good, which nobody waits for.
ALTER TABLE nodes ADD COLUMN level INTEGER NOT NULL DEFAULT 1;
