-- What is changed of a message after it was sent: its text, that it was
-- recalled, who reacted to it, who no longer wants to see it.
--
-- Nothing here refers to users or messages by a foreign key: these tables go
-- where their conversation goes, on whatever server that is.

-- +goose Up
ALTER TABLE messages
    ADD COLUMN revision int NOT NULL DEFAULT 0,
    ADD COLUMN edited   timestamptz,
    ADD COLUMN recalled boolean NOT NULL DEFAULT false;
COMMENT ON TABLE messages IS 'the history of every conversation; editing a message replaces its text, recalling it empties it';
COMMENT ON COLUMN messages.revision IS 'how often the message was edited or recalled; the greater of two is the newer';

CREATE TABLE reactions (
    conversation text COLLATE "C" NOT NULL,
    message_id   uuid NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    emoji        text COLLATE "C" NOT NULL,
    PRIMARY KEY (conversation, message_id, user_id, emoji)
);

-- Counted when they change, so that a page of history reads a bounded number
-- of rows however many members react.
CREATE TABLE reaction_counts (
    conversation text COLLATE "C" NOT NULL,
    message_id   uuid NOT NULL,
    emoji        text COLLATE "C" NOT NULL,
    count        int NOT NULL CHECK (count > 0),
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation, message_id, emoji)
);
COMMENT ON TABLE reaction_counts IS 'how many rows of reactions there are for each emoji of a message; changed with them, under the lock of the message';

CREATE TABLE deleted_messages (
    user_id      text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    message_id   uuid NOT NULL,
    PRIMARY KEY (user_id, conversation, message_id)
);
COMMENT ON TABLE deleted_messages IS 'messages that a user has deleted for themselves; everybody else still has them';

-- +goose Down
DROP TABLE deleted_messages, reaction_counts, reactions;
ALTER TABLE messages DROP COLUMN revision, DROP COLUMN edited, DROP COLUMN recalled;
