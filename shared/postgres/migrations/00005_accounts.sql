-- A user who is deleted stays as a row that says so: what they sent is still
-- from somebody. Everything else of them is cleared, and the account is free.

-- +goose Up
ALTER TABLE users
    ALTER COLUMN account DROP NOT NULL,
    ADD COLUMN email           text COLLATE "C",
    ADD COLUMN email_since     timestamptz,
    ADD COLUMN email_verified  timestamptz,
    ADD COLUMN phone           text COLLATE "C",
    ADD COLUMN phone_since     timestamptz,
    ADD COLUMN bio             text NOT NULL DEFAULT '',
    ADD COLUMN avatar          text NOT NULL DEFAULT '',
    ADD COLUMN find_by_email   boolean NOT NULL DEFAULT false,
    ADD COLUMN find_by_phone   boolean NOT NULL DEFAULT false,
    ADD COLUMN presence        text COLLATE "C" NOT NULL DEFAULT 'friends' CHECK (presence IN ('everyone', 'friends', 'nobody')),
    ADD COLUMN friend_requests text COLLATE "C" NOT NULL DEFAULT 'everyone' CHECK (friend_requests IN ('everyone', 'nobody')),
    ADD COLUMN deleted         timestamptz,
    ADD CONSTRAINT users_deleted CHECK ((deleted IS NULL) = (account IS NOT NULL));
COMMENT ON COLUMN users.email IS 'normalised; not unique: whoever says that it is theirs has not proved it before email_verified';
COMMENT ON COLUMN users.email_since IS 'when the user said so: an older account that claims it later comes later';
COMMENT ON COLUMN users.phone IS 'as E.164 writes it';
COMMENT ON COLUMN users.presence IS 'who may see whether the user is online';
COMMENT ON COLUMN users.friend_requests IS 'who may ask the user to be friends';

-- In the order in which a search shows them: those who have proved that an
-- address is theirs, then those who have said so for longest.
CREATE INDEX users_email ON users (email, (email_verified IS NULL), email_since) WHERE find_by_email;
CREATE INDEX users_phone ON users (phone, phone_since) WHERE find_by_phone;

ALTER TABLE sessions
    ADD COLUMN seen timestamptz,
    ADD COLUMN told boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sessions.seen IS 'when the device last got tokens';
COMMENT ON COLUMN sessions.told IS 'of one that has ended: everybody who lets it in by its access token has been told';
UPDATE sessions SET told = true WHERE ended IS NOT NULL;
CREATE INDEX sessions_untold ON sessions (ended) WHERE ended IS NOT NULL AND NOT told;
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;
CREATE INDEX sessions_user ON sessions (user_id);

ALTER TABLE refresh_tokens ADD COLUMN successor bytea;
COMMENT ON COLUMN refresh_tokens.successor IS 'of a used one: the hash of what took its place';
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);

CREATE TABLE erasures (
    user_id text COLLATE "C" PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    created timestamptz NOT NULL DEFAULT now(),
    due     timestamptz NOT NULL DEFAULT now(),
    again   boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE erasures IS 'users who were deleted, and of whom something may be left outside of the tables';
COMMENT ON COLUMN erasures.again IS 'it was done once; what strayed in meanwhile is left';
CREATE INDEX erasures_due ON erasures (due);

-- +goose Down
DROP TABLE erasures;
DROP INDEX refresh_tokens_expires, sessions_user, sessions_ended, sessions_untold, users_phone, users_email;
ALTER TABLE refresh_tokens DROP COLUMN successor;
ALTER TABLE sessions DROP COLUMN told, DROP COLUMN seen;
ALTER TABLE users DROP CONSTRAINT users_deleted;
-- Who was deleted has no account to go back to.
UPDATE users SET account = id WHERE account IS NULL;
ALTER TABLE users
    DROP COLUMN deleted, DROP COLUMN friend_requests, DROP COLUMN presence, DROP COLUMN find_by_phone, DROP COLUMN find_by_email,
    DROP COLUMN avatar, DROP COLUMN bio, DROP COLUMN phone_since, DROP COLUMN phone, DROP COLUMN email_verified, DROP COLUMN email_since, DROP COLUMN email,
    ALTER COLUMN account SET NOT NULL;
