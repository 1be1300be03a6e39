-- +goose Up
ALTER TABLE groups ADD COLUMN slow_seconds integer NOT NULL DEFAULT 0 CHECK (slow_seconds BETWEEN 0 AND 3600);
COMMENT ON COLUMN groups.slow_seconds IS 'that a member waits between two messages; 0 is none';

ALTER TABLE group_members ADD COLUMN told timestamptz;
COMMENT ON COLUMN group_members.told IS 'when the group was last told, for eyes to see, that the user had come or gone';
ALTER TABLE group_departures
    ADD COLUMN told timestamptz,
    ADD COLUMN left_at timestamptz;
COMMENT ON COLUMN group_departures.left_at IS 'of who left by themselves: when';

CREATE TABLE group_bans (
    group_id  text COLLATE "C" NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_id   text COLLATE "C" NOT NULL,
    by_id     text COLLATE "C" NOT NULL,
    reason    text NOT NULL DEFAULT '',
    until     timestamptz,
    created   timestamptz NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
COMMENT ON TABLE group_bans IS 'who may not come into a group; written under the lock of its row';
COMMENT ON COLUMN group_bans.until IS 'NULL is for ever';
CREATE INDEX group_bans_created ON group_bans (group_id, created, user_id);

ALTER TABLE users ADD COLUMN group_adds text COLLATE "C" NOT NULL DEFAULT 'everyone' CHECK (group_adds IN ('everyone', 'friends', 'nobody'));
COMMENT ON COLUMN users.group_adds IS 'who may make the user a member of a group';

-- +goose Down
ALTER TABLE users DROP COLUMN group_adds;
DROP TABLE group_bans;
ALTER TABLE group_departures DROP COLUMN left_at, DROP COLUMN told;
ALTER TABLE group_members DROP COLUMN told;
ALTER TABLE groups DROP COLUMN slow_seconds;
