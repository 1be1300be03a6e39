-- +goose Up
CREATE TABLE outbox (
    id         text COLLATE "C" PRIMARY KEY,
    created    timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id uuid NOT NULL,
    time       timestamptz NOT NULL,
    notice     text NOT NULL,
    failed     text
);
COMMENT ON TABLE outbox IS 'notices of changes that have been made, until it is known that they were published';
COMMENT ON COLUMN outbox.notice IS 'JSON; text, so that whoever publishes it publishes the same bytes';
COMMENT ON COLUMN outbox.failed IS 'why it cannot be published as it is; it waits for somebody to look at it';
CREATE INDEX outbox_waiting ON outbox (time, id) WHERE failed IS NULL;

-- +goose Down
DROP TABLE outbox;
