-- +goose Up
CREATE TABLE inbox (
    user_id    text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL CHECK (seq > 0),
    message_id uuid NOT NULL,
    message    text NOT NULL,
    PRIMARY KEY (user_id, message_id),
    CONSTRAINT inbox_seq UNIQUE (user_id, seq)
);
COMMENT ON TABLE inbox IS 'the messages of each user; seq counts 1, 2, 3 … without holes';
COMMENT ON COLUMN inbox.message IS 'JSON, as clients get it; text, because nothing here looks inside';

-- +goose Down
DROP TABLE inbox;
