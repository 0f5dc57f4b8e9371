-- Version 30: the nodes of a cluster share a certificate.

-- What the node with the duty keeps for all: the account at the authority, the certificate with its key, and what the authority is
-- shown. Each is sealed with a key that is made of cluster_key. Empty for a natter alone, which has files.
CREATE TABLE certificate (
    name TEXT PRIMARY KEY,
    sealed TEXT NOT NULL
) STRICT, WITHOUT ROWID;
