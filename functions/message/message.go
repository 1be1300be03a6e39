package message

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// A changer runs f in a transaction. What f did is done, and the notices that
// it left are told, if neither returns an error; otherwise nothing was done.
type changer func(ctx context.Context, f func(context.Context, tx) error) error

// A tx is a transaction that changes messages.
type tx interface {
	parties
	amender
	reactor
	deleter
	// Notify has notices told once the transaction is committed.
	Notify(...im.Notice)
}

type amender interface {
	// LockMessage returns a message as it is now, and keeps others from
	// changing it until the transaction ends; false if history has none.
	LockMessage(ctx context.Context, c im.Conversation, id string) (im.Message, bool, error)
	// AmendMessage writes what may change of a message.
	AmendMessage(ctx context.Context, m im.Message) error
	// RevokeFile takes back what a message granted of the file that it carries.
	RevokeFile(ctx context.Context, g im.FileGrant) error
	// Former returns at most limit users who have left a group, those who left
	// last.
	Former(ctx context.Context, group string, limit int) ([]string, error)
}

// target names a message by its conversation and id.
type target struct {
	Conversation im.Conversation `json:"conversation"`
	Message      string          `json:"message"`
}

func (t target) check() error {
	if err := t.Conversation.Check(); err != nil {
		return err
	}
	return checkID(t.Message)
}

func checkID(message string) error {
	if _, ok := im.TimeOfMessageID(message); !ok {
		return im.Errorf(im.Invalid, "%.40q is not the id of a message", message)
	}
	return nil
}

// lock returns the message that t names. The error is an absent one if history
// does not have it.
func (t target) lock(ctx context.Context, tx tx) (im.Message, error) {
	m, ok, err := tx.LockMessage(ctx, t.Conversation, t.Message)
	if err == nil && !ok {
		err = missing(t.Conversation, t.Message)
	}
	return m, err
}

// amend writes m down under its next revision, and tells of it by a notice of
// this type and data. former are not told, but have it amended.
func amend(ctx context.Context, tx tx, m *im.Message, by, typ string, data any, former []string) error {
	m.Revision++
	if err := tx.AmendMessage(ctx, *m); err != nil {
		return err
	}
	n, err := im.NewNotice(typ, m.Conversation, by, data)
	if err != nil {
		return err
	}
	n.Quiet, n.Amended, n.Former = true, []im.Message{*m}, former
	tx.Notify(n)
	return nil
}

const (
	// onItsWay is for how long after its time a message may have been accepted
	// and not be in history yet. Normally that is milliseconds.
	onItsWay  = time.Minute
	patience  = time.Second           // that a call waits for a message
	firstLook = 25 * time.Millisecond // after which it looks again; then after twice as long, and so on
)

// absent is messages of a conversation that history does not have.
type absent struct {
	conversation im.Conversation
	ids          []string
}

func (a *absent) Error() string {
	return fmt.Sprintf("%d messages are not in history, of them %s", len(a.ids), a.ids[0])
}

func missing(c im.Conversation, ids ...string) error {
	return im.Wrap(im.NotFound, &absent{c, ids}, "there is no message %s in this conversation", ids[0])
}

// waiting holds the users of whom a call waits for a message, one of each: who
// names messages that there are not holds up nothing by it.
var waiting sync.Map

// await calls change, again for a while if the message that it names may still
// be on its way into history. Of the calls of a user that wait at a time one
// does; the others are told to come again at once.
func await(ctx context.Context, user string, change func() error) error {
	deadline := time.Now().Add(patience)
	for pause := firstLook; ; pause *= 2 {
		err := change()
		var missing *absent
		if !errors.As(err, &missing) {
			return err
		}
		id := missing.ids[0]
		at, _ := im.TimeOfMessageID(id)
		if age := time.Since(at.Std()); age > onItsWay || age < -onItsWay {
			return err
		}
		if pause == firstLook {
			if _, one := waiting.LoadOrStore(user, true); one {
				return late(id, missing)
			}
			defer waiting.Delete(user)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return late(id, missing)
		}
		if err := retry.Sleep(ctx, min(pause, left)); err != nil {
			return late(id, err)
		}
	}
}

func late(id string, cause error) error {
	return &im.Error{
		Kind: im.Unavailable, Msg: fmt.Sprintf("message %s is still on its way: try again", id), Err: cause,
		RetryAfter: time.Second, Ordinary: true,
	}
}
