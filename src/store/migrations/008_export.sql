-- Version 8: the reactions of one profile are found without reading those of all profiles.
CREATE INDEX reactions_of_profile ON reactions (profile, message, emoji);
