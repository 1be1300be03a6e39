-- What nobody takes from an account: a code that was mailed, the name of who was
-- deleted. What a user shows: pictures of our own.

-- +goose Up
ALTER TABLE email_codes
    ADD COLUMN sealed  text COLLATE "C",
    ADD COLUMN created timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN email_codes.sealed IS 'the code, encrypted by a key that is not in the database: who asks again is mailed it again';
COMMENT ON COLUMN email_codes.created IS 'when it was mailed first';

CREATE TABLE former_accounts (
    hash     bytea PRIMARY KEY,
    owner_id text COLLATE "C",
    until    timestamptz NOT NULL
);
COMMENT ON TABLE former_accounts IS 'SHA-256 of accounts of users who were deleted, which nobody takes until then; infinity is for ever';
COMMENT ON COLUMN former_accounts.owner_id IS 'of a bot: whose it was, who may give its account to another of theirs';
CREATE INDEX former_accounts_until ON former_accounts (until);

-- Avatars of other sites tell these who looks at them. What is shown is what
-- was seen to be none.
ALTER TABLE users ADD COLUMN avatar_checked text NOT NULL DEFAULT '';
COMMENT ON COLUMN users.avatar_checked IS 'the avatar that may be shown; of another one nobody has seen where it is';
UPDATE users u SET avatar_checked = avatar FROM avatars a
WHERE u.avatar <> '' AND a.owner_id = u.id AND a.unused IS NULL AND right(u.avatar, length(a.key) + 1) = '/' || a.key;

-- +goose Down
ALTER TABLE users DROP COLUMN avatar_checked;
DROP TABLE former_accounts;
ALTER TABLE email_codes DROP COLUMN created, DROP COLUMN sealed;
