-- When a user last proved who they are, and mails that tell of what has changed.

-- +goose Up
ALTER TABLE sessions ADD COLUMN proved timestamptz;
COMMENT ON COLUMN sessions.proved IS 'when its user last proved who they are since it began; NULL: not since';

ALTER TABLE mails DROP CONSTRAINT mails_purpose_check;
ALTER TABLE mails ADD CONSTRAINT mails_purpose_check CHECK (purpose IN ('verify', 'reset', 'email-changed', 'password-changed', 'factor-added', 'factor-removed'));
COMMENT ON COLUMN mails.user_id IS 'who asked, of a mail to verify, or whom it tells of a change; NULL of a mail to reset, which anybody may ask for';

-- +goose Down
DELETE FROM mails WHERE purpose NOT IN ('verify', 'reset');
ALTER TABLE mails DROP CONSTRAINT mails_purpose_check;
ALTER TABLE mails ADD CONSTRAINT mails_purpose_check CHECK (purpose IN ('verify', 'reset'));
COMMENT ON COLUMN mails.user_id IS 'who asked, of a mail to verify; NULL of a mail to reset, which anybody may ask for';
ALTER TABLE sessions DROP COLUMN proved;
