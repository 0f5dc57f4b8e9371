-- Version 8: one's own reactions are found without reading everybody's.
CREATE INDEX reactions_of_profile ON reactions (profile, message, emoji);
