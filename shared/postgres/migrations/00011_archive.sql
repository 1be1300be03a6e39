-- History that has left the table messages: which stretches of time, and where
-- their messages are. A stretch is a partition that was detached. It becomes
-- rows in PostgreSQL that nobody changes (source), is copied from there into
-- objects, and is dropped when all of it was read back from these.

-- +goose Up
CREATE TABLE archives (
    starts   timestamptz PRIMARY KEY,
    ends     timestamptz NOT NULL CHECK (ends > starts),
    source   text COLLATE "C",
    rows     bigint NOT NULL DEFAULT 0,
    detached timestamptz NOT NULL DEFAULT now(),
    archived timestamptz CHECK ((archived IS NULL) = (source IS NOT NULL)),
    EXCLUDE USING gist (tstzrange(starts, ends) WITH &&)
);
COMMENT ON TABLE archives IS 'stretches of time whose messages are not in the table messages any more';
COMMENT ON COLUMN archives.source IS 'table that holds them until all are in objects';

CREATE TABLE archive_parts (
    starts   timestamptz NOT NULL REFERENCES archives,
    part     int NOT NULL,
    key      text COLLATE "C" NOT NULL UNIQUE,
    rows     int NOT NULL CHECK (rows > 0),
    bytes    bigint NOT NULL,
    footer   bigint NOT NULL,
    checksum bytea NOT NULL,
    PRIMARY KEY (starts, part)
);
COMMENT ON TABLE archive_parts IS 'objects (Parquet) that hold the messages of a stretch, in the order of conversation, time, id';
COMMENT ON COLUMN archive_parts.footer IS 'byte at which the metadata of the object begin';
COMMENT ON COLUMN archive_parts.checksum IS 'SHA-256 of the rows, as they were in PostgreSQL and as they were read back';

-- So that a page of a conversation is read out of one row group, wherever it is.
CREATE TABLE archive_groups (
    starts             timestamptz NOT NULL,
    part               int NOT NULL,
    row_group          int NOT NULL,
    rows               int NOT NULL CHECK (rows > 0),
    first_byte         bigint NOT NULL,
    bytes              bigint NOT NULL,
    first_conversation text COLLATE "C" NOT NULL,
    first_time         timestamptz NOT NULL,
    first_id           uuid NOT NULL,
    last_conversation  text COLLATE "C" NOT NULL,
    last_time          timestamptz NOT NULL,
    last_id            uuid NOT NULL,
    conversations      bytea NOT NULL,
    PRIMARY KEY (starts, part, row_group),
    FOREIGN KEY (starts, part) REFERENCES archive_parts
);
CREATE INDEX archive_groups_first ON archive_groups (starts, first_conversation, first_time, first_id);
CREATE INDEX archive_groups_last ON archive_groups (starts, last_conversation, last_time, last_id);
COMMENT ON TABLE archive_groups IS 'the row groups of objects: which messages are in which bytes';
COMMENT ON COLUMN archive_groups.conversations IS 'split block Bloom filter (as Parquet has it) of the conversations in it';

CREATE TABLE archive_changes (
    conversation text COLLATE "C" NOT NULL,
    time         timestamptz NOT NULL,
    id           uuid NOT NULL,
    sender       text COLLATE "C" NOT NULL,
    client_id    text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    text         text NOT NULL,
    reply_to     uuid,
    data         jsonb,
    revision     int NOT NULL CHECK (revision > 0),
    edited       timestamptz,
    recalled     boolean NOT NULL,
    PRIMARY KEY (conversation, time, id)
);
COMMENT ON TABLE archive_changes IS 'what became of archived messages that were recalled, or changed after they were archived; it counts where its revision is greater';

CREATE TABLE archive_late (
    conversation text COLLATE "C" NOT NULL,
    time         timestamptz NOT NULL,
    id           uuid NOT NULL,
    sender       text COLLATE "C" NOT NULL,
    client_id    text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    text         text NOT NULL,
    reply_to     uuid,
    data         jsonb,
    missing      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (conversation, time, id)
);
CREATE INDEX archive_late_unseen ON archive_late (time) WHERE NOT missing;
COMMENT ON TABLE archive_late IS 'messages that came after their time was archived; the archive counts where it has the same';
COMMENT ON COLUMN archive_late.missing IS 'the archive was asked, and has no such message';

-- Where a function that walks through all users goes on the next time.
CREATE TABLE walks (
    name  text COLLATE "C" PRIMARY KEY,
    after text COLLATE "C" NOT NULL
);

-- +goose Down
DROP TABLE walks, archive_late, archive_changes, archive_groups, archive_parts, archives;
