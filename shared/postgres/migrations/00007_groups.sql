-- A group that is dissolved stays as a row that says so, so that its id never
-- comes back. It has no members.

-- Who changes a group locks users before it, if at all. So what is written under
-- its lock has no foreign key to users, which would lock one after it: the owner
-- is in group_members, and a departure is of somebody who was.

-- +goose Up
ALTER TABLE groups
    DROP CONSTRAINT groups_owner_id_fkey,
    ADD COLUMN about     text NOT NULL DEFAULT '',
    ADD COLUMN policy    text COLLATE "C" NOT NULL DEFAULT 'invite' CHECK (policy IN ('open', 'approval', 'invite')),
    ADD COLUMN muted     boolean NOT NULL DEFAULT false,
    ADD COLUMN members   integer NOT NULL DEFAULT 0,
    ADD COLUMN dissolved timestamptz;
COMMENT ON COLUMN groups.version IS 'raised in the transaction of each change of the group or its members, under the lock of this row';
COMMENT ON COLUMN groups.muted IS 'only the owner and admins may speak';
COMMENT ON COLUMN groups.members IS 'how many there are in group_members';
UPDATE groups g SET members = (SELECT count(*) FROM group_members m WHERE m.group_id = g.id);

ALTER TABLE group_members
    ADD COLUMN muted_until timestamptz,
    ADD COLUMN version     bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN group_members.version IS 'of the group, by which the row became what it is';
CREATE UNIQUE INDEX group_members_owner ON group_members (group_id) WHERE role = 'owner';
CREATE INDEX group_members_version ON group_members (group_id, version, user_id);
DROP INDEX group_members_user;
CREATE INDEX group_members_user ON group_members (user_id, joined, group_id);

CREATE TABLE group_departures (
    group_id    text COLLATE "C" NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_id     text COLLATE "C" NOT NULL,
    version     bigint NOT NULL,
    muted_until timestamptz,
    PRIMARY KEY (group_id, user_id)
);
COMMENT ON TABLE group_departures IS 'who was in a group and is not, since which version of it';
COMMENT ON COLUMN group_departures.muted_until IS 'as it was: who is muted and comes back is muted';
CREATE INDEX group_departures_version ON group_departures (group_id, version, user_id);

CREATE TABLE group_join_requests (
    group_id  text COLLATE "C" NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_id   text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    message   text NOT NULL,
    requested timestamptz NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_join_requests_requested ON group_join_requests (group_id, requested, user_id);
CREATE INDEX group_join_requests_user ON group_join_requests (user_id);

-- +goose Down
DROP TABLE group_join_requests, group_departures;
DROP INDEX group_members_user, group_members_version, group_members_owner;
CREATE INDEX group_members_user ON group_members (user_id);
ALTER TABLE group_members DROP COLUMN version, DROP COLUMN muted_until;
-- Before there was dissolving, a group without members was one that was not.
DELETE FROM groups WHERE dissolved IS NOT NULL;
ALTER TABLE groups
    DROP COLUMN dissolved, DROP COLUMN members, DROP COLUMN muted, DROP COLUMN policy, DROP COLUMN about,
    ADD CONSTRAINT groups_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users;
