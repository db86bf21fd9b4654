CREATE TABLE users (
	id      TEXT   NOT NULL PRIMARY KEY,
	name    TEXT   NOT NULL,
	role    TEXT   NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'manager')),
	created BIGINT NOT NULL
);

-- A person may sign in with several identities. The provider's issuer and subject name an identity for
-- ever; its name and address are only what the provider said last.
CREATE TABLE identities (
	issuer  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	user_id TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name    TEXT   NOT NULL,
	email   TEXT   NOT NULL,
	seen    BIGINT NOT NULL,
	UNIQUE (issuer, subject)
);

CREATE INDEX identities_by_user ON identities (user_id);
