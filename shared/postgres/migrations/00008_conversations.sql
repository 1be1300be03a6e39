-- What an inbox entry is to the list of conversations of its user, which is
-- read from the inbox itself, and what the user has done to each conversation.

-- +goose Up
ALTER TABLE inbox
    ADD COLUMN conversation text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN class        smallint NOT NULL DEFAULT 0,
    ADD COLUMN revision     integer NOT NULL DEFAULT 0,
    ADD COLUMN quiet        boolean NOT NULL DEFAULT false;
-- In what is there already, by writing the table once: an update would leave
-- it twice as large. All of it are messages that were shown (im.ClassOf).
ALTER TABLE inbox
    ALTER COLUMN conversation TYPE text COLLATE "C" USING coalesce(message::json ->> 'conversation', ''),
    ALTER COLUMN class TYPE smallint USING
        CASE WHEN message::json ->> 'conversation' IS NULL THEN 0
             WHEN message::json ->> 'kind' = 'text' AND message::json ->> 'from' <> user_id THEN 2 ELSE 1 END;
ALTER TABLE inbox
    ALTER COLUMN conversation DROP DEFAULT,
    ALTER COLUMN class DROP DEFAULT,
    ALTER COLUMN revision DROP DEFAULT;
-- A message is in one conversation and is quiet or not once and for all, so
-- (user_id, message_id) is as unique as it was. The list is read from this
-- index, too: another one would cost an insert half as much again.
ALTER TABLE inbox
    DROP CONSTRAINT inbox_pkey,
    ADD PRIMARY KEY (user_id, quiet, conversation, message_id) INCLUDE (class);
COMMENT ON COLUMN inbox.message IS 'JSON, as clients get it; text, because nothing here looks inside. It is replaced by what has a greater revision';
COMMENT ON COLUMN inbox.class IS '2: unread until it is read, 1: brings its conversation to the top, 0: neither';
COMMENT ON COLUMN inbox.quiet IS 'whether it was of class 0 when it came; one that was deleted was not';

CREATE TABLE conversation_states (
    user_id      text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    read_id      uuid,
    pinned       boolean NOT NULL DEFAULT false,
    muted        boolean NOT NULL DEFAULT false,
    hidden_id    uuid,
    PRIMARY KEY (user_id, conversation)
);
CREATE INDEX conversation_states_pinned ON conversation_states (user_id) WHERE pinned;
COMMENT ON TABLE conversation_states IS 'what users have done to their conversations; nobody else writes here';
COMMENT ON COLUMN conversation_states.read_id IS 'the message up to which all is read; it never goes back';
COMMENT ON COLUMN conversation_states.hidden_id IS 'hidden until there is a later message than this';

-- +goose Down
DROP TABLE conversation_states;
ALTER TABLE inbox
    DROP CONSTRAINT inbox_pkey,
    DROP COLUMN conversation, DROP COLUMN class, DROP COLUMN revision, DROP COLUMN quiet,
    ADD PRIMARY KEY (user_id, message_id);
