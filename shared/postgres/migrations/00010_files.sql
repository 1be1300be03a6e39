-- Files that users keep in the object store, and which messages carry them.
-- A row is there before anything of the file is in the store, and goes after
-- all of it: what is in the store without a row is of no use to anybody.

-- +goose Up
CREATE TABLE files (
    id           text COLLATE "C" PRIMARY KEY CHECK (length(id) = 16),
    owner_id     text COLLATE "C" NOT NULL REFERENCES users,
    name         text NOT NULL,
    size         bigint NOT NULL CHECK (size > 0),
    type         text COLLATE "C" NOT NULL,
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    state        text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'complete', 'removed')),
    upload       text COLLATE "C",
    part_size    bigint NOT NULL DEFAULT 0,
    width        int NOT NULL DEFAULT 0,
    height       int NOT NULL DEFAULT 0,
    preview      text COLLATE "C" NOT NULL DEFAULT '',
    created      timestamptz NOT NULL,
    expires      timestamptz NOT NULL,
    unsent_since timestamptz
);
COMMENT ON COLUMN files.upload IS 'of a pending one that is sent in parts of part_size: the id of the upload in the store, once there is one';
COMMENT ON COLUMN files.expires IS 'until when a pending one may be completed';
COMMENT ON COLUMN files.unsent_since IS 'since when a complete one is in no message; NULL while it is in one';
CREATE INDEX files_pending ON files (expires) WHERE state = 'pending';
CREATE INDEX files_unsent ON files (unsent_since) WHERE state = 'complete' AND unsent_since IS NOT NULL;
CREATE INDEX files_removed ON files (id) WHERE state = 'removed';
CREATE INDEX files_unsent_owner ON files (owner_id) WHERE state = 'pending' OR unsent_since IS NOT NULL;

CREATE TABLE file_usage (
    owner_id text COLLATE "C" PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    bytes    bigint NOT NULL
);
COMMENT ON TABLE file_usage IS 'how much all rows of files of a user come to; changed with them';

CREATE TABLE file_grants (
    file_id      text COLLATE "C" NOT NULL REFERENCES files ON DELETE CASCADE,
    conversation text COLLATE "C" NOT NULL,
    message_id   uuid NOT NULL,
    revoked      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (file_id, conversation, message_id)
);
COMMENT ON TABLE file_grants IS 'which messages carry a file: who may read one of them may have the file';
COMMENT ON COLUMN file_grants.revoked IS 'the message was recalled; the row stays, so that a repeat of the message grants nothing';
-- The greater user of a direct conversation; the lesser begins it.
CREATE INDEX file_grants_peer ON file_grants (file_id, split_part(conversation, ':', 3)) WHERE conversation < 'g:';

CREATE TABLE avatars (
    key      text COLLATE "C" PRIMARY KEY,
    owner_id text COLLATE "C" NOT NULL,
    created  timestamptz NOT NULL DEFAULT now(),
    unused   timestamptz
);
COMMENT ON TABLE avatars IS 'pictures of users in the object store, under their keys';
COMMENT ON COLUMN avatars.unused IS 'since when it is nobody''s picture; NULL while it is the owner''s, or about to be';
CREATE INDEX avatars_owner ON avatars (owner_id) WHERE unused IS NULL;
CREATE INDEX avatars_unused ON avatars (unused) WHERE unused IS NOT NULL;

CREATE TABLE file_sweeps (
    prefix text COLLATE "C" PRIMARY KEY,
    after  text COLLATE "C" NOT NULL
);
COMMENT ON TABLE file_sweeps IS 'how far the object store was looked through for what has no row';

-- +goose Down
DROP TABLE file_sweeps, avatars, file_grants, file_usage, files;
