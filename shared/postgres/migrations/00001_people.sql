-- Users, groups and sessions are named by 16 characters of lower-case base32,
-- compared byte by byte (COLLATE "C"): faster than by any language, and the
-- same in every database.

-- +goose Up
CREATE TABLE users (
    id       text COLLATE "C" PRIMARY KEY CHECK (length(id) = 16),
    account  text COLLATE "C" NOT NULL CONSTRAINT users_account UNIQUE,
    name     text NOT NULL,
    password text NOT NULL,
    created  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN users.password IS 'a hash in PHC format';

CREATE TABLE sessions (
    id       text COLLATE "C" PRIMARY KEY CHECK (length(id) = 16),
    user_id  text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    device   text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    created  timestamptz NOT NULL,
    ended    timestamptz
);
COMMENT ON TABLE sessions IS 'signed-in devices; a device has one that has not ended';
CREATE UNIQUE INDEX sessions_device ON sessions (user_id, device) WHERE ended IS NULL;

CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    session_id text COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    expires    timestamptz NOT NULL,
    used       timestamptz
);
COMMENT ON TABLE refresh_tokens IS 'used ones stay until they expire: seeing one again means that it was stolen';
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id, expires);

CREATE TABLE friend_requests (
    from_user text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    to_user   text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    greeting  text NOT NULL DEFAULT '',
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (from_user, to_user),
    CHECK (from_user <> to_user)
);
CREATE INDEX friend_requests_to ON friend_requests (to_user, created);

CREATE TABLE friendships (
    user_id   text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    friend_id text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, friend_id),
    CHECK (user_id <> friend_id)
);
COMMENT ON TABLE friendships IS 'each friendship is two rows, one for either side';

CREATE TABLE blocks (
    user_id    text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    blocked_id text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    created    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, blocked_id),
    CHECK (user_id <> blocked_id)
);

CREATE TABLE groups (
    id       text COLLATE "C" PRIMARY KEY CHECK (length(id) = 16),
    name     text NOT NULL,
    owner_id text COLLATE "C" NOT NULL REFERENCES users,
    version  bigint NOT NULL DEFAULT 1,
    created  timestamptz NOT NULL
);
COMMENT ON COLUMN groups.version IS 'raised in the transaction of each change of members, so that caches can tell the newer of two lists';

CREATE TABLE group_members (
    group_id text COLLATE "C" NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_id  text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    role     text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined   timestamptz NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

-- +goose Down
DROP TABLE group_members, groups, blocks, friendships, friend_requests, refresh_tokens, sessions, users;
