-- Who a user is beyond their password: an e-mail address that is proved to be
-- theirs, accounts elsewhere that they sign in with, a second factor.

-- +goose Up
-- Whoever has proved an address has it alone. It is also how it is found.
CREATE UNIQUE INDEX users_email_verified ON users (email) WHERE email_verified IS NOT NULL;
COMMENT ON COLUMN users.password IS 'a hash in PHC format; empty of who has none, and of who was deleted';

-- Who asks for a mail is answered once it is in here, whether or not there is
-- an account that it is for: that is looked up when it is sent.
CREATE TABLE mails (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN ('verify', 'reset')),
    email   text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" REFERENCES users ON DELETE CASCADE,
    created timestamptz NOT NULL DEFAULT now(),
    due     timestamptz NOT NULL DEFAULT now(),
    tries   int NOT NULL DEFAULT 0,
    CONSTRAINT mails_once UNIQUE NULLS NOT DISTINCT (purpose, email, user_id)
);
COMMENT ON TABLE mails IS 'mails that were asked for and not sent yet';
COMMENT ON COLUMN mails.user_id IS 'who asked, of a mail to verify; NULL of a mail to reset, which anybody may ask for';
CREATE INDEX mails_due ON mails (due);
CREATE INDEX mails_created ON mails (created);
CREATE INDEX mails_user ON mails (user_id) WHERE user_id IS NOT NULL;

CREATE TABLE email_codes (
    user_id  text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose  text COLLATE "C" NOT NULL CHECK (purpose IN ('verify', 'reset')),
    email    text COLLATE "C" NOT NULL,
    hash     bytea NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    expires  timestamptz NOT NULL,
    PRIMARY KEY (user_id, purpose)
);
COMMENT ON TABLE email_codes IS 'codes that were mailed; one of a purpose is good at a time, for the address it went to';
CREATE INDEX email_codes_expires ON email_codes (expires);

CREATE TABLE identities (
    issuer   text COLLATE "C" NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    name     text NOT NULL DEFAULT '',
    created  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject),
    CONSTRAINT identities_provider UNIQUE (user_id, provider)
);
COMMENT ON TABLE identities IS 'accounts elsewhere by which users sign in';
COMMENT ON COLUMN identities.name IS 'what the account is called there, for its owner to know it again';

CREATE TABLE second_factors (
    user_id   text COLLATE "C" PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    secret    text COLLATE "C" NOT NULL,
    confirmed timestamptz,
    last_step bigint NOT NULL DEFAULT 0,
    created   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN second_factors.secret IS 'of TOTP, encrypted by a key that is not in the database';
COMMENT ON COLUMN second_factors.confirmed IS 'since when it is asked for; NULL: it was set up, and no code of it has been seen';
COMMENT ON COLUMN second_factors.last_step IS 'the greatest step of time whose code was used: none up to it is good any more (RFC 6238, 5.2)';

CREATE TABLE recovery_codes (
    user_id text COLLATE "C" NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    hash    bytea NOT NULL,
    PRIMARY KEY (user_id, hash)
);
COMMENT ON TABLE recovery_codes IS 'codes that are good once in the place of one of the second factor';

-- +goose Down
DROP TABLE recovery_codes, second_factors, identities, email_codes, mails;
DROP INDEX users_email_verified;
COMMENT ON COLUMN users.password IS 'a hash in PHC format';
