-- +goose Up
CREATE TABLE messages (
    conversation text COLLATE "C" NOT NULL,
    time         timestamptz NOT NULL,
    id           uuid NOT NULL,
    sender       text COLLATE "C" NOT NULL,
    client_id    text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    text         text NOT NULL,
    reply_to     uuid,
    data         jsonb,
    PRIMARY KEY (conversation, time, id)
) PARTITION BY RANGE (time);
COMMENT ON TABLE messages IS 'the history of every conversation; a row never changes, except that recalling a message empties it';

-- What no month takes goes here, so that an insert never fails for want of one.
CREATE TABLE messages_default PARTITION OF messages DEFAULT;

-- This month and the year after it. Later ones are made ahead by whoever
-- archives the earlier ones.
-- +goose StatementBegin
DO $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    FOR i IN 0..12 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF messages FOR VALUES FROM (%L) TO (%L)',
            'messages_' || to_char(month, 'YYYY_MM'),
            month AT TIME ZONE 'UTC',
            (month + interval '1 month') AT TIME ZONE 'UTC');
        month := month + interval '1 month';
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE messages;
