-- The version after the last one, only with the feature `next-level`: a node of the second level knows since when it has the duty.

-- Unix ms of the log; NULL for a duty that was given before.
ALTER TABLE duty ADD COLUMN since INTEGER;
