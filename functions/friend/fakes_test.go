package friend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	life = 30 * 24 * time.Hour
)

var (
	caller = im.Caller{User: ann}
	noon   = im.TimeOf(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	over   = noon - im.Time(life.Microseconds()) // what was asked by then
	down   = &im.Error{Kind: im.Unavailable, Msg: "it is down", Err: errors.New("dial tcp: refused")}
)

// ledger is a transaction, and what comes of it.
type ledger struct {
	is            im.PairState // of whoever asks to whoever is named
	users, others int          // friends of both, were they to become so
	open, blocked int
	remark        string
	locked        bool
	did           []string
	notices       []im.Notice
	err           error // of the last step
}

func (l *ledger) step(format string, args ...any) error {
	if !l.locked {
		return errors.New("changed without a lock: " + format)
	}
	l.did = append(l.did, fmt.Sprintf(format, args...))
	return l.err
}

func (l *ledger) LockPair(_ context.Context, user, other string) (im.PairState, error) {
	l.locked = true
	return l.is, nil
}

func (l *ledger) PairState(context.Context, string, string) (im.PairState, error) { return l.is, nil }

func (l *ledger) OpenRequests(_ context.Context, user string, after im.Time) (int, error) {
	if after != over {
		return 0, fmt.Errorf("counted after %s", after)
	}
	return l.open, nil
}

func (l *ledger) AddRequest(_ context.Context, a im.Ask) error {
	return l.step("%s asks %s (hidden: %v)", a.From, a.To, a.Hidden)
}

func (l *ledger) RemoveRequest(_ context.Context, from, to string) error {
	return l.step("%s does not ask %s", from, to)
}

func (l *ledger) Befriend(_ context.Context, user, other string) (int, int, error) {
	return l.users, l.others, l.step("%s and %s are friends", user, other)
}

func (l *ledger) Unfriend(_ context.Context, user, other string) error {
	return l.step("%s and %s are none", user, other)
}

func (l *ledger) Block(_ context.Context, user, other string) (int, error) {
	return l.blocked, l.step("%s blocks %s", user, other)
}

func (l *ledger) Unblock(_ context.Context, user, other string) error {
	return l.step("%s does not block %s", user, other)
}

func (l *ledger) SetRemark(_ context.Context, user, friend, remark string) (bool, error) {
	if !l.is.Friends {
		return false, im.Errorf(im.NotFound, "not a friend")
	}
	changed := remark != l.remark
	l.remark = remark
	return changed, l.err
}

func (l *ledger) Notify(n ...im.Notice) { l.notices = append(l.notices, n...) }

// in runs f on the ledger; what fails has no effect.
func in[T any](l *ledger) func(context.Context, func(context.Context, T) error) error {
	return func(ctx context.Context, f func(context.Context, T) error) error {
		err := f(ctx, any(l).(T))
		if err != nil {
			l.did, l.notices = nil, nil
		}
		return err
	}
}

// told returns the notices of the ledger in a line each.
func (l *ledger) told(t testing.TB) string {
	t.Helper()
	var lines []string
	for _, n := range l.notices {
		if n.Conversation != im.Direct(ann, bob) || n.From != ann {
			t.Errorf("notice %+v", n)
		}
		quiet := " quietly"
		if !n.Quiet {
			quiet = ""
		}
		lines = append(lines, fmt.Sprintf("%s to %s%s %s", n.Type, strings.Join(n.To, ","), quiet, n.Data))
	}
	return strings.Join(lines, "\n")
}

// door counts requests.
type door struct {
	asked []string
	err   error
}

func (d *door) Reach(_ context.Context, from string, _ ...string) error {
	d.asked = append(d.asked, from)
	return d.err
}

func (d *door) Allow(_ context.Context, user string) error {
	d.asked = append(d.asked, user)
	return d.err
}
