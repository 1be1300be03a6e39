-- A file is granted before its message is written to Kafka, which may never
-- happen. So it is looked whether the message came, once for each grant.

-- +goose Up
ALTER TABLE file_grants ADD COLUMN stored boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN file_grants.stored IS 'the message was seen in history or in the archive, and is not looked for any more';
CREATE INDEX file_grants_unseen ON file_grants (message_id) WHERE NOT stored AND NOT revoked;

-- +goose Down
DROP INDEX file_grants_unseen;
ALTER TABLE file_grants DROP COLUMN stored;
