-- A bot is a user who belongs to another: it has no password, and signs in by
-- tokens. A token is a session that lasts, so what ends sessions ends tokens.

-- +goose Up
ALTER TABLE users
    ADD COLUMN owner_id text COLLATE "C" REFERENCES users,
    ADD COLUMN orphaned timestamptz;
COMMENT ON COLUMN users.owner_id IS 'of a bot: whose it is';
COMMENT ON COLUMN users.orphaned IS 'of a bot: when its owner was deleted; it is about to be';
CREATE INDEX users_owner ON users (owner_id) WHERE owner_id IS NOT NULL AND deleted IS NULL;
CREATE INDEX users_orphaned ON users (orphaned) WHERE orphaned IS NOT NULL AND deleted IS NULL;

CREATE TABLE bot_tokens (
    id      text COLLATE "C" PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    bot_id  text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    hash    bytea NOT NULL CONSTRAINT bot_tokens_hash UNIQUE,
    name    text NOT NULL,
    scopes  text[] COLLATE "C" NOT NULL CHECK (cardinality(scopes) > 0),
    expires timestamptz,
    used    timestamptz
);
COMMENT ON TABLE bot_tokens IS 'good while their session has not ended';
CREATE INDEX bot_tokens_bot ON bot_tokens (bot_id);
CREATE INDEX bot_tokens_expires ON bot_tokens (expires) WHERE expires IS NOT NULL;

CREATE TABLE webhooks (
    id           text COLLATE "C" PRIMARY KEY CHECK (length(id) = 16),
    bot_id       text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    url          text NOT NULL,
    conversation text COLLATE "C",
    secret       text COLLATE "C" NOT NULL,
    old_secret   text COLLATE "C",
    old_until    timestamptz,
    created      timestamptz NOT NULL DEFAULT now(),
    disabled     timestamptz,
    reason       text COLLATE "C" NOT NULL DEFAULT '',
    told         boolean NOT NULL DEFAULT true,
    due          timestamptz,
    taken        timestamptz,
    run          bigint NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    failing      timestamptz,
    failure      text NOT NULL DEFAULT '',
    dropped      bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN webhooks.conversation IS 'the only one; NULL is all of the bot''s';
COMMENT ON COLUMN webhooks.secret IS 'encrypted by a key that is not in the database';
COMMENT ON COLUMN webhooks.old_secret IS 'the one before, which is signed with as well until old_until';
COMMENT ON COLUMN webhooks.told IS 'of one that was disabled: whether its owner knows';
COMMENT ON COLUMN webhooks.due IS 'when to deliver next; NULL if nothing waits';
COMMENT ON COLUMN webhooks.taken IS 'somebody delivers; until when, if they give up';
COMMENT ON COLUMN webhooks.run IS 'counts who delivers, so that one who took too long changes nothing';
COMMENT ON COLUMN webhooks.failures IS 'attempts in a row that failed';
COMMENT ON COLUMN webhooks.failing IS 'when the first of these was';
COMMENT ON COLUMN webhooks.dropped IS 'deliveries that were given up since one arrived that said how many';
CREATE INDEX webhooks_bot ON webhooks (bot_id);
CREATE INDEX webhooks_due ON webhooks (due) WHERE due IS NOT NULL AND disabled IS NULL;
CREATE INDEX webhooks_untold ON webhooks (disabled) WHERE NOT told;

CREATE TABLE webhook_deliveries (
    webhook_id   text COLLATE "C" NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    time         timestamptz NOT NULL,
    message_id   uuid NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    message      text NOT NULL,
    created      timestamptz NOT NULL DEFAULT now(),
    attempts     integer NOT NULL DEFAULT 0,
    due          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, time, message_id)
);
COMMENT ON TABLE webhook_deliveries IS 'messages that webhooks are to be told of; so many of each at most. Who changes those of a webhook locks its row first';
COMMENT ON COLUMN webhook_deliveries.due IS 'when it may be tried; the later ones of its conversation wait for it';
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created);

-- +goose Down
DROP TABLE webhook_deliveries, webhooks, bot_tokens;
DROP INDEX users_orphaned, users_owner;
ALTER TABLE users DROP COLUMN orphaned, DROP COLUMN owner_id;
