-- What is locked in order here references no users: that would lock their
-- rows, too, in the order in which this is written.

-- +goose Up
CREATE TABLE relation_versions (
    a       text COLLATE "C" NOT NULL,
    b       text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (a, b),
    CHECK (a < b)
);
COMMENT ON TABLE relation_versions IS 'whoever changes what two users are to each other locks their row here first';
COMMENT ON COLUMN relation_versions.version IS 'raised in the transaction of each change, so that caches can tell the newer of two relations';

CREATE TABLE friend_lists (
    user_id   text COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE friend_lists IS 'the version of the list of friends of each user; its row is locked for each change of the list';
COMMENT ON COLUMN friend_lists.forgotten IS 'who was removed up to this version is no longer known';

ALTER TABLE friendships
    ADD COLUMN remark  text NOT NULL DEFAULT '',
    ADD COLUMN version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN friendships.version IS 'of the list of user_id, when this row last changed';
CREATE INDEX friendships_version ON friendships (user_id, version, friend_id);

CREATE TABLE friend_tombstones (
    user_id   text COLLATE "C" NOT NULL,
    friend_id text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    PRIMARY KEY (user_id, friend_id)
);
COMMENT ON TABLE friend_tombstones IS 'who was removed from which list of friends, at which version of it';
CREATE INDEX friend_tombstones_version ON friend_tombstones (user_id, version, friend_id);

ALTER TABLE friend_requests RENAME COLUMN greeting TO message;
ALTER TABLE friend_requests
    ADD COLUMN source text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN hidden boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN friend_requests.hidden IS 'to_user never sees it; from_user cannot tell';
DROP INDEX friend_requests_to;
CREATE INDEX friend_requests_to ON friend_requests (to_user, hidden, created, from_user);

CREATE INDEX blocks_created ON blocks (user_id, created, blocked_id);
CREATE INDEX blocks_blocked ON blocks (blocked_id);

-- +goose Down
DROP INDEX blocks_blocked, blocks_created, friend_requests_to;
CREATE INDEX friend_requests_to ON friend_requests (to_user, created);
ALTER TABLE friend_requests DROP COLUMN hidden, DROP COLUMN source;
ALTER TABLE friend_requests RENAME COLUMN message TO greeting;
DROP TABLE friend_tombstones;
DROP INDEX friendships_version;
ALTER TABLE friendships DROP COLUMN version, DROP COLUMN remark;
DROP TABLE friend_lists, relation_versions;
