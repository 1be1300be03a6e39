-- How devices are reached that are offline, and what is due to them.

-- +goose Up
CREATE TABLE push_subscriptions (
    session_id text COLLATE "C" PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    user_id    text COLLATE "C" NOT NULL,
    endpoint   text COLLATE "C" NOT NULL CONSTRAINT push_subscriptions_endpoint UNIQUE CHECK (length(endpoint) <= 2048),
    p256dh     bytea NOT NULL,
    auth       bytea NOT NULL,
    show_text  boolean NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    failures   integer NOT NULL DEFAULT 0,
    failing    timestamptz
);
CREATE INDEX push_subscriptions_user ON push_subscriptions (user_id, since);
COMMENT ON TABLE push_subscriptions IS 'Web Push: the subscription of a signed-in device; it goes when the session ends';
COMMENT ON COLUMN push_subscriptions.endpoint IS 'of one browser, so of one session: the last that said it was theirs';
COMMENT ON COLUMN push_subscriptions.failing IS 'since when every attempt has failed, and failures of them did; NULL if the last one did not';

-- However a session ends, nobody is to be notified of it any more.
-- +goose StatementBegin
CREATE FUNCTION session_has_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM push_subscriptions WHERE session_id = NEW.id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER session_has_ended AFTER UPDATE OF ended ON sessions
    FOR EACH ROW WHEN (OLD.ended IS NULL AND NEW.ended IS NOT NULL) EXECUTE FUNCTION session_has_ended();

-- No foreign key: who notes that a message came has no time to lock sessions,
-- and what is due to one that has ended goes when its time comes.
CREATE TABLE notifications (
    session_id   text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    message_id   uuid NOT NULL,
    next_id      uuid,
    due          timestamptz,
    taken        boolean NOT NULL DEFAULT false,
    attempts     integer NOT NULL DEFAULT 0,
    expires      timestamptz NOT NULL,
    sent         timestamptz,
    PRIMARY KEY (session_id, conversation)
) WITH (fillfactor = 80);
CREATE INDEX notifications_due ON notifications (due) WHERE due IS NOT NULL;
CREATE INDEX notifications_sent ON notifications (sent) WHERE due IS NULL;
COMMENT ON TABLE notifications IS 'what devices that are offline are to be notified of: one row for each and conversation, however many messages there are';
COMMENT ON COLUMN notifications.message_id IS 'the first message that it is for';
COMMENT ON COLUMN notifications.next_id IS 'the first message that came while it was being sent: it is for the next';
COMMENT ON COLUMN notifications.due IS 'NULL: it was sent, and there is nothing new; of one that is being sent, when somebody else may';
COMMENT ON COLUMN notifications.sent IS 'when the last one was: the next has to wait a while';

-- +goose Down
DROP TABLE notifications;
DROP TRIGGER session_has_ended ON sessions;
DROP FUNCTION session_has_ended;
DROP TABLE push_subscriptions;
