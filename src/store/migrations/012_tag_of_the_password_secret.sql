-- Version 12: the database knows which password secret its password hashes and codes need.
--
-- The first bytes of an HMAC of a constant under the secret: enough to detect another secret at a start. NULL until a start
-- with this version, and after `natter secret reset` until the new secret is recorded.
ALTER TABLE state ADD COLUMN password_tag BLOB;
