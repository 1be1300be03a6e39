package faults

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/e2e/system"
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
	s := system.Start(t, "KAFKA_PARTITIONS", "1")
	ann, bob := join(t, s.Gateways[0], "ann"), join(t, s.Gateways[1], "bob")
	db := database{t, s.Postgres.URL}
	users, group := db.largeGroup(members)
	flood(t, s, group, users[0], messages)
	flooded := time.Now()

	var took []time.Duration
	for n := 0; db.entries(group) < messages*members; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience(t))
		text := fmt.Sprint("neighbour ", n)
		begin := time.Now()
		if _, err := ann.client.Send(ctx, "u:"+bob.user.ID, text); err != nil {
			t.Fatal(err)
		}
		cancel()
		imtest.Eventually(t, "the neighbour's message comes", func() error {
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
	db.inOrder(group, users[len(users)-1], messages)
}

// flood has messages accepted that somebody says in a group, faster than any
// limit would let them.
func flood(t *testing.T, s *system.System, group, from string, n int) {
	t.Helper()
	env := s.Env()
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

// A database is looked at, and written to, past the functions.
type database struct {
	t   *testing.T
	url string
}

// largeGroup makes users and a group of them.
func (db database) largeGroup(n int) (users []string, group string) {
	db.t.Helper()
	for range n {
		users = append(users, im.NewID())
	}
	slices.Sort(users)
	group = im.NewID()
	db.exec(`INSERT INTO users (id, account, name, password) SELECT u, 'c' || u, u, '' FROM unnest($1::text[]) AS u`, users)
	db.exec(`INSERT INTO groups (id, name, owner_id, members, created) VALUES ($1, 'Crowd', $2, $3, now())`, group, users[0], n)
	db.exec(`INSERT INTO group_members (group_id, user_id, role, joined) SELECT $1, u, CASE u WHEN $3 THEN 'owner' ELSE 'member' END, now() FROM unnest($2::text[]) AS u`,
		group, users, users[0])
	return users, group
}

// entries returns how many entries of a group there are in inboxes.
func (db database) entries(group string) (n int) {
	db.t.Helper()
	db.row([]any{&n}, `SELECT count(*) FROM inbox WHERE conversation = $1`, im.Group(group))
	return n
}

// inOrder fails unless a user has so many entries of a group, in the order of
// their times.
func (db database) inOrder(group, user string, want int) {
	db.t.Helper()
	var n, early int
	db.row([]any{&n, &early}, `
		SELECT count(*), count(*) FILTER (WHERE at < before) FROM (
			SELECT (message::json->>'time')::timestamptz AS at, lag((message::json->>'time')::timestamptz) OVER (ORDER BY seq) AS before
			FROM inbox WHERE user_id = $1 AND conversation = $2) AS e`, user, im.Group(group))
	if n != want || early > 0 {
		db.t.Errorf("%s has %d of %d messages, %d of them before an earlier one", user, n, want, early)
	}
}

func (db database) exec(statement string, args ...any) {
	db.t.Helper()
	conn := db.connect()
	defer conn.Close(context.Background())
	if _, err := conn.Exec(db.t.Context(), statement, args...); err != nil {
		db.t.Fatal(err)
	}
}

func (db database) row(into []any, query string, args ...any) {
	db.t.Helper()
	conn := db.connect()
	defer conn.Close(context.Background())
	if err := conn.QueryRow(db.t.Context(), query, args...).Scan(into...); err != nil {
		db.t.Fatal(err)
	}
}

func (db database) connect() *pgx.Conn {
	db.t.Helper()
	conn, err := pgx.Connect(db.t.Context(), db.url)
	if err != nil {
		db.t.Fatal(err)
	}
	return conn
}
