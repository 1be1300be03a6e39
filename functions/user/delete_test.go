package user

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

var errDied = errors.New("the process has died")

// life is of a process that dies at one of its steps: neither that step nor
// any after it is done.
type life struct{ steps, left int }

func (l *life) step() error {
	if l.left == 0 {
		return errDied
	}
	l.steps++
	l.left--
	return nil
}

// estate is a user, ann, and all that there is of her, in every store.
type estate struct {
	*directory
	*life

	inbox, hints, rows, friends, groups bool
	due                                 []im.Erasure
	untold                              []string
	told                                []im.Notice
}

// after returns a changer that fails so many times first.
func (e *estate) after(failures int) changer {
	return func(ctx context.Context, f func(context.Context, leaver) error) error {
		if failures--; failures >= 0 {
			return down
		}
		return e.change(ctx, f)
	}
}

type leaving struct {
	*estate
	ended   []string
	notices []im.Notice
	did     []string
}

func newEstate(t *testing.T) *estate {
	return &estate{directory: newUser(t), life: &life{left: -1}, inbox: true, hints: true, rows: true, friends: true, groups: true}
}

// change commits what f does, or nothing.
func (e *estate) change(ctx context.Context, f func(context.Context, leaver) error) error {
	if err := e.step(); err != nil {
		return err
	}
	tx := &leaving{estate: e}
	if err := f(ctx, tx); err != nil {
		return err
	}
	if err := e.step(); err != nil {
		return err
	}
	for _, did := range tx.did {
		switch did {
		case "user":
			clear(e.users)
			clear(e.hashes)
			e.sessions, e.untold, e.due = nil, tx.ended, []im.Erasure{{User: ann}}
		case "friends":
			e.friends = false
		case "groups":
			e.groups = false
		}
	}
	e.told = append(e.told, tx.notices...)
	return e.step() // it is committed, and nobody has heard
}

func (l *leaving) ForgetUser(_ context.Context, user, hash string) ([]string, bool, error) {
	if err := l.step(); err != nil {
		return nil, false, err
	}
	if len(l.users) == 0 {
		return nil, false, nil
	}
	if l.hashes["ann"] != hash {
		return nil, false, im.Errorf(im.Conflict, "changed meanwhile")
	}
	for _, s := range l.sessions {
		l.ended = append(l.ended, s.ID)
	}
	l.did = append(l.did, "user")
	return l.ended, true, nil
}

func (l *leaving) RemoveAllFriends(context.Context, string) ([]string, error) {
	l.did = append(l.did, "friends")
	return []string{bob, "cccccccccccccccc"}, l.step()
}

func (l *leaving) LeaveAllGroups(context.Context, string) ([]im.Notice, error) {
	l.did = append(l.did, "groups")
	n, err := im.NewNotice(im.GroupLeft, im.Group("gggggggggggggggg"), ann, nil)
	return []im.Notice{n}, errors.Join(err, l.step())
}

func (l *leaving) Notify(n ...im.Notice) { l.notices = append(l.notices, n...) }

func (e *estate) Erase(context.Context, string) error {
	if err := e.step(); err != nil {
		return err
	}
	e.inbox = false
	return nil
}

func (e *estate) Forget(context.Context, string) error {
	if err := e.step(); err != nil {
		return err
	}
	e.hints = false
	return nil
}

func (e *estate) EraseUser(context.Context, string) error {
	if err := e.step(); err != nil {
		return err
	}
	e.rows = len(e.untold) > 0 // the sessions stay until they are told of
	return nil
}

func (e *estate) Erased(_ context.Context, done im.Erasure, after time.Duration) error {
	if err := e.step(); err != nil {
		return err
	}
	if after < time.Minute {
		return fmt.Errorf("erased again after %s", after)
	}
	switch {
	case !slices.Contains(e.due, done):
	case done.Again:
		e.due = nil
	default:
		e.due = []im.Erasure{{User: done.User, Again: true}}
	}
	return nil
}

func (e *estate) Told(_ context.Context, sessions []string) error {
	if err := e.step(); err != nil {
		return err
	}
	e.untold = slices.DeleteFunc(e.untold, func(s string) bool { return slices.Contains(sessions, s) })
	return nil
}

func (e *estate) Untold(context.Context, time.Duration, int) (of []im.Session, err error) {
	for _, s := range e.untold {
		of = append(of, im.Session{ID: s, User: ann})
	}
	return of, e.step()
}

func (e *estate) DueErasures(context.Context, int) ([]im.Erasure, error) {
	return slices.Clone(e.due), e.step()
}
func (e *estate) SweepTokens(context.Context, int) (int, error) { return 0, e.step() }
func (e *estate) SweepSessions(context.Context, time.Duration, int) (int, error) {
	return 0, e.step()
}

// remover returns user-delete and session-sweep of a process that lives for so
// many steps.
func (e *estate) remover(t *testing.T, steps int) (*remover, *sweeper, *street) {
	e.life = &life{left: steps}
	street, end := newStreet(t)
	end.told = e
	mark := end.marks
	end.marks = markers(func(ctx context.Context, s string, ttl time.Duration) error {
		if err := e.step(); err != nil {
			return err
		}
		return mark.MarkEnded(ctx, s, ttl)
	})
	erase := &eraser{inbox: e, hints: e, notes: e}
	second := &SecondFactor{store: e, limit: &gate{}, vault: testVault(t), log: slog.New(slog.DiscardHandler)}
	return &remover{who: prover(e, &gate{}), second: second, change: e.change, end: end, erase: erase},
		&sweeper{store: e, erasures: e, end: end, erase: erase}, street
}

type markers func(context.Context, string, time.Duration) error

func (f markers) MarkEnded(ctx context.Context, s string, ttl time.Duration) error {
	return f(ctx, s, ttl)
}

// A process dies at each step of user-delete in turn, and the sweep that comes
// after it at each of its own: either nothing was done, or all of it is done in
// the end.
func TestAUserIsDeletedOrNotWhereverItIsCutOff(t *testing.T) {
	caller, in := im.Caller{User: ann, Session: "own"}, deleteRequest{Password: "correct horse"}
	first, err := newEstate(t), error(nil)
	r, _, _ := first.remover(t, 1000)
	if _, err = r.call(t.Context(), caller, in); err != nil {
		t.Fatal(err)
	}
	steps := first.steps
	if steps < 10 || first.inbox || first.hints || first.rows || len(first.untold) > 0 || !slices.Equal(first.due, []im.Erasure{{User: ann, Again: true}}) {
		t.Fatalf("undisturbed: %d steps, %+v", steps, first)
	}
	for i := range steps {
		for j := range 12 {
			e := newEstate(t)
			r, _, _ := e.remover(t, i)
			r.call(t.Context(), caller, in)
			if len(e.users) > 0 { // nothing was done
				if !e.inbox || !e.friends || !e.groups || !e.hints || !e.rows || len(e.told) > 0 || len(e.sessions) != 3 {
					t.Fatalf("cut off at step %d it is half done: %+v", i, e)
				}
				continue
			}
			if e.friends || e.groups || len(e.sessions) > 0 || len(e.told) != 3 {
				t.Fatalf("cut off at step %d the transaction is half done: %+v", i, e)
			}
			_, s, _ := e.remover(t, j)
			s.sweep(t.Context())
			_, s, _ = e.remover(t, 1000)
			for range 2 {
				if err := s.sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if e.inbox || e.hints || e.rows || len(e.untold) > 0 || len(e.due) > 0 || len(e.told) != 3 {
				t.Fatalf("cut off at step %d and, in the sweep, at %d, something is left: %+v", i, j, e)
			}
		}
	}
}

func TestDelete(t *testing.T) {
	caller := im.Caller{User: ann, Session: "own"}
	for _, tt := range []struct {
		name string
		in   deleteRequest
		fail func(*estate, *remover)
		want im.Kind
		gone bool
	}{
		{name: "right", in: deleteRequest{Password: "correct horse"}, gone: true},
		{name: "again", in: deleteRequest{Password: "correct horse"}, fail: func(e *estate, _ *remover) { clear(e.users) }},
		{name: "the password is wrong", in: deleteRequest{Password: "correct house"}, want: im.Denied},
		{name: "no password", want: im.Denied},
		{name: "too many attempts", in: deleteRequest{Password: "correct horse"}, want: im.Overloaded,
			fail: func(_ *estate, r *remover) { r.who.limit = &gate{err: im.Errorf(im.Overloaded, "wait")} }},
		{name: "the password is changed meanwhile", in: deleteRequest{Password: "correct horse"}, want: im.Conflict,
			fail: func(e *estate, r *remover) {
				r.change = func(ctx context.Context, f func(context.Context, leaver) error) error {
					e.hashes["ann"] = "another"
					return e.change(ctx, f)
				}
			}},
		{name: "the database lets another go on first", in: deleteRequest{Password: "correct horse"}, gone: true,
			fail: func(e *estate, r *remover) { r.change = e.after(2) }},
		{name: "and does so time and again", in: deleteRequest{Password: "correct horse"}, want: im.Unavailable,
			fail: func(e *estate, r *remover) { r.change = e.after(mostTries) }},
		{name: "a code is missing", in: deleteRequest{Password: "correct horse"}, want: im.Denied,
			fail: func(e *estate, r *remover) { e.factor = factor(t, r.second) }},
		{name: "another code", in: deleteRequest{Password: "correct horse", Code: "abcdef"}, want: im.Denied,
			fail: func(e *estate, r *remover) { e.factor = factor(t, r.second) }},
		{name: "the code", in: deleteRequest{Password: "correct horse", Code: code(t)}, gone: true,
			fail: func(e *estate, r *remover) { e.factor = factor(t, r.second) }},
		{name: "the database is down", in: deleteRequest{Password: "correct horse"}, want: im.Unavailable,
			fail: func(e *estate, _ *remover) { e.err = down }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEstate(t)
			r, _, street := e.remover(t, 1000)
			if tt.fail != nil {
				tt.fail(e, r)
			}
			_, err := r.call(t.Context(), caller, tt.in)
			if (err != nil || tt.want != "") && im.KindOf(err) != tt.want {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if !tt.gone {
				if len(e.told)+len(street.marked) > 0 || !e.inbox {
					t.Errorf("told %v, marked %q, inbox %v", e.told, street.marked, e.inbox)
				}
				return
			}
			if !slices.Equal(street.marked, []string{sess, "own", "another"}) {
				t.Errorf("marked %q", street.marked)
			}
			for i, want := range []struct {
				typ   string
				in    im.Conversation
				quiet bool
			}{
				{im.GroupLeft, "g:gggggggggggggggg", false},
				{im.FriendDeleted, im.Direct(ann, bob), true},
				{im.FriendDeleted, im.Direct(ann, "cccccccccccccccc"), true},
			} {
				if n := e.told[i]; n.Type != want.typ || n.Conversation != want.in || n.Quiet != want.quiet || n.From != ann {
					t.Errorf("notice %d: %+v", i, n)
				}
			}
		})
	}
}

// One thing that cannot be done does not keep the sweep from the others.
func TestASweepGoesOnWithTheRest(t *testing.T) {
	e := newEstate(t)
	_, s, street := e.remover(t, 1000)
	e.untold, e.due, street.markErr = []string{sess}, []im.Erasure{{User: ann}}, down
	swept := &swept{estate: e}
	s.store = swept
	if err := s.sweep(t.Context()); !errors.Is(err, im.Unavailable) {
		t.Errorf("error %v", err)
	}
	if e.inbox || !slices.Equal(e.due, []im.Erasure{{User: ann, Again: true}}) || swept.tokens != 3 || swept.sessions != 1 || len(e.untold) != 1 {
		t.Errorf("swept %+v of %+v", swept, e)
	}
}

// swept counts batches: two full ones of tokens, none of sessions.
type swept struct {
	*estate
	tokens, sessions int
}

func (s *swept) SweepTokens(_ context.Context, limit int) (int, error) {
	s.tokens++
	if s.tokens < 3 {
		return limit, nil
	}
	return 0, nil
}

func (s *swept) SweepSessions(_ context.Context, age time.Duration, limit int) (int, error) {
	s.sessions++
	if age < 29*24*time.Hour {
		return 0, fmt.Errorf("sessions that ended %s ago are swept", age)
	}
	return limit - 1, nil
}

func TestASweepStopsWhenItsTimeIsOver(t *testing.T) {
	e := newEstate(t)
	_, s, _ := e.remover(t, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	endless := &endless{estate: e, after: func() { cancel() }}
	s.store = endless
	if err := s.sweep(ctx); err != nil || endless.n != 1 {
		t.Errorf("%d batches, %v", endless.n, err)
	}
}

type endless struct {
	*estate
	n     int
	after func()
}

func (e *endless) SweepTokens(_ context.Context, limit int) (int, error) {
	e.n++
	e.after()
	return limit, nil
}

// One user who cannot be erased, or one session that cannot be told of, does
// not hold up the others.
func TestASweepIsNotHeldUpByOne(t *testing.T) {
	e := newEstate(t)
	_, s, street := e.remover(t, 1000)
	many := &many{estate: e, bad: map[string]bool{"u0": true, "u3": true}}
	for i := range 20 {
		many.users = append(many.users, fmt.Sprint("u", i))
	}
	s.store, s.erasures, s.end.told = many, many, many
	s.erase = &eraser{inbox: many, hints: e, notes: many}
	mark := s.end.marks
	s.end.marks = markers(func(ctx context.Context, session string, ttl time.Duration) error {
		if many.bad[session] {
			return down
		}
		return mark.MarkEnded(ctx, session, ttl)
	})
	err := s.sweep(t.Context())
	if !errors.Is(err, im.Unavailable) || strings.Count(err.Error(), "2 failed") != 2 {
		t.Errorf("error %v", err)
	}
	if len(street.marked) != 18 || len(many.noted) != 18 || len(many.erased) != 18 {
		t.Errorf("marked %q, told of %q, erased %q", street.marked, many.noted, many.erased)
	}
	for _, u := range many.users {
		many.bad[u] = true
	}
	if err := s.sweep(t.Context()); strings.Count(err.Error(), "20 failed") != 2 || len(err.Error()) > 2000 {
		t.Errorf("error %v", err)
	}
}

// many are users who were deleted, each with a session of the same name.
type many struct {
	*estate
	users         []string
	bad           map[string]bool
	noted, erased []string
}

func (m *many) Untold(context.Context, time.Duration, int) (of []im.Session, err error) {
	for _, u := range m.users {
		of = append(of, im.Session{ID: u, User: u})
	}
	return of, nil
}

func (m *many) Told(_ context.Context, sessions []string) error {
	m.noted = append(m.noted, sessions...)
	return nil
}

func (m *many) DueErasures(context.Context, int) (due []im.Erasure, err error) {
	for _, u := range m.users {
		due = append(due, im.Erasure{User: u})
	}
	return due, nil
}

func (m *many) Erase(_ context.Context, user string) error {
	if m.bad[user] {
		return down
	}
	return nil
}

func (m *many) Erased(_ context.Context, e im.Erasure, _ time.Duration) error {
	m.erased = append(m.erased, e.User)
	return nil
}
