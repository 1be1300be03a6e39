package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
)

// While a flood to a large group is worked, a conversation that shares nothing
// with it but its partition goes on.
func TestP7AFloodHoldsUpNoOtherConversationOfItsPartition(t *testing.T) {
	const messages, members = 300, 1000
	s := start(t, "KAFKA_PARTITIONS", "1")
	ann, bob := join(t, s.gateways[0], "ann"), join(t, s.gateways[1], "bob")
	crowd, group := s.crowd(t, members)
	s.flood(t, group, crowd[0], messages)
	flooded := time.Now()

	var took []time.Duration
	for n := 0; s.entries(t, group) < messages*members; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		text := fmt.Sprint("neighbour ", n)
		begin := time.Now()
		if _, err := ann.client.Send(ctx, "u:"+bob.user.ID, text); err != nil {
			t.Fatal(err)
		}
		cancel()
		eventually(t, 5*time.Minute, "the neighbour's message comes", func() error {
			bob.mu.Lock()
			defer bob.mu.Unlock()
			if m := len(bob.received); m == 0 || bob.received[m-1].Text != text {
				return fmt.Errorf("%d have come", m)
			}
			return nil
		})
		took = append(took, time.Since(begin))
	}
	all := time.Since(flooded)
	slices.Sort(took)
	most := took[len(took)-1]
	t.Logf("the flood took %s; %d messages of the neighbour meanwhile: median %s, longest %s", all.Round(time.Millisecond),
		len(took), took[len(took)/2].Round(time.Millisecond), most.Round(time.Millisecond))
	if most > all/4 {
		t.Errorf("a message of another conversation took %s of the %s", most, all)
	}
	s.inOrder(t, group, crowd[len(crowd)-1], messages)
}

// crowd makes users and a group of them, past the functions.
func (s *system) crowd(t *testing.T, n int) (users []string, group string) {
	t.Helper()
	for range n {
		users = append(users, im.NewID())
	}
	slices.Sort(users)
	group = im.NewID()
	s.sql(t, `INSERT INTO users (id, account, name, password) SELECT u, 'c' || u, u, '' FROM unnest($1::text[]) AS u`, users)
	s.sql(t, `INSERT INTO groups (id, name, owner_id, members, created) VALUES ($1, 'Crowd', $2, $3, now())`, group, users[0], n)
	s.sql(t, `INSERT INTO group_members (group_id, user_id, role, joined) SELECT $1, u, CASE u WHEN $3 THEN 'owner' ELSE 'member' END, now() FROM unnest($2::text[]) AS u`,
		group, users, users[0])
	return users, group
}

// flood has messages accepted that somebody says in a group, faster than any
// limit would let them.
func (s *system) flood(t *testing.T, group, from string, n int) {
	t.Helper()
	env := imtest.Env(t, s.vars)
	seal, err := fn.Keyring(env)
	if err != nil {
		t.Fatal(err)
	}
	to, err := kafka.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]event.Event, n)
	for i := range events {
		at := im.Now() + im.Time(i)
		m := im.Message{ID: im.NewMessageID(at), Conversation: im.Group(group), Time: at, From: from, ClientID: im.NewID(), Kind: im.KindText, Text: fmt.Sprint(i)}
		if events[i], err = event.New(event.MessageAccepted, "/e2e", string(m.Conversation), event.Accepted{Message: m}); err != nil {
			t.Fatal(err)
		}
		events[i].ID, events[i].Time = m.ID, m.Time
		seal.Sign(&events[i])
	}
	if err := to.Publish(t.Context(), event.TopicMessages, events); err != nil {
		t.Fatal(err)
	}
}

// entries returns how many entries of a group there are in inboxes.
func (s *system) entries(t *testing.T, group string) (n int) {
	t.Helper()
	s.row(t, []any{&n}, `SELECT count(*) FROM inbox WHERE conversation = $1`, im.Group(group))
	return n
}

// inOrder fails unless a user has so many entries of a group, in the order of
// their times.
func (s *system) inOrder(t *testing.T, group, user string, want int) {
	t.Helper()
	var n, early int
	s.row(t, []any{&n, &early}, `
		SELECT count(*), count(*) FILTER (WHERE at < before) FROM (
			SELECT (message::json->>'time')::timestamptz AS at, lag((message::json->>'time')::timestamptz) OVER (ORDER BY seq) AS before
			FROM inbox WHERE user_id = $1 AND conversation = $2) AS e`, user, im.Group(group))
	if n != want || early > 0 {
		t.Errorf("%s has %d of %d messages, %d of them before an earlier one", user, n, want, early)
	}
}

func (s *system) sql(t *testing.T, statement string, args ...any) {
	t.Helper()
	db := s.db(t)
	defer db.Close(context.Background())
	if _, err := db.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func (s *system) row(t *testing.T, into []any, query string, args ...any) {
	t.Helper()
	db := s.db(t)
	defer db.Close(context.Background())
	if err := db.QueryRow(t.Context(), query, args...).Scan(into...); err != nil {
		t.Fatal(err)
	}
}

func (s *system) db(t *testing.T) *pgx.Conn {
	t.Helper()
	db, err := pgx.Connect(t.Context(), s.vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	return db
}
