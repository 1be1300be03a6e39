-- +goose Up
CREATE TABLE outbox (
    id         text COLLATE "C" PRIMARY KEY,
    created    timestamptz NOT NULL DEFAULT now(),
    message_id uuid NOT NULL,
    time       timestamptz NOT NULL,
    notice     jsonb NOT NULL
);
COMMENT ON TABLE outbox IS 'notices of changes that have been made, until it is known that they were published';
CREATE INDEX outbox_created ON outbox (created);

-- +goose Down
DROP TABLE outbox;
