-- What message-search needs beside the messages themselves.

-- +goose Up
CREATE TABLE direct_conversations (
    user_id      text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, conversation)
);
COMMENT ON TABLE direct_conversations IS 'the direct conversations of each user in which something was said, two rows each';
CREATE INDEX direct_conversations_since ON direct_conversations (user_id, since DESC);
INSERT INTO direct_conversations (user_id, conversation)
SELECT u, c FROM (SELECT DISTINCT conversation AS c FROM messages WHERE conversation LIKE 'd:%') x
CROSS JOIN LATERAL unnest(ARRAY[split_part(c, ':', 2), split_part(c, ':', 3)]) AS u
ON CONFLICT DO NOTHING;

-- Some kB for hundreds of messages, made after these, instead of an index on
-- each word of each: that would cost an insert three to thirteen times as much.
CREATE TABLE search_blocks (
    conversation text COLLATE "C" NOT NULL,
    seq          int NOT NULL,
    after_time   timestamptz NOT NULL,
    after_id     uuid NOT NULL,
    upto_time    timestamptz NOT NULL,
    upto_id      uuid NOT NULL,
    messages     int NOT NULL,
    filter       bit varying NOT NULL,
    PRIMARY KEY (conversation, seq)
) WITH (fillfactor = 70);
ALTER TABLE search_blocks ALTER COLUMN filter SET STORAGE PLAIN;
COMMENT ON TABLE search_blocks IS 'which stretches of a conversation may have what is searched for; the first begins before all messages, each one where the one before it ends, and what follows the last is read without';
COMMENT ON COLUMN search_blocks.filter IS 'a Bloom filter of the grams of all texts of the stretch; what is inserted or edited in it later is added';

-- +goose Down
DROP TABLE search_blocks, direct_conversations;
