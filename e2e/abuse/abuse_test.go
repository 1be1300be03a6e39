package abuse_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/bench/abuse"
	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	addressHeader = "X-Real-Ip"
	crowdMembers  = 1000
	hops          = 20 // that wait for the machine between asking something and having it, at most
)

// While somebody attacks, nothing of those who have nothing to do with them is
// refused or lost, and it takes no second longer, but with the race detector,
// which is slow itself. ABUSE_SECONDS says how long each attack goes on.
func TestP7AHostileUserHarmsOnlyThemselves(t *testing.T) {
	during := 6 * time.Second
	if s := os.Getenv("ABUSE_SECONDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("ABUSE_SECONDS: %v", err)
		}
		during = time.Duration(n) * time.Second
	}
	database := system.Database(t)
	site := &abuse.Site{AddressHeader: addressHeader}
	site.URL = system.OneProcess(t, noop.NewTracerProvider().Tracer(""), forPeople(t, "POSTGRES_URL", database)...)
	site.Crowd = func(ctx context.Context) (abuse.Crowd, error) { return largeGroup(ctx, site, database, crowdMembers) }
	for _, a := range abuse.All {
		t.Run(a.Name, func(t *testing.T) {
			r, err := a.Measure(t.Context(), site, during/2, during)
			if err != nil {
				t.Fatal(err)
			}
			judge(t, r)
		})
	}
}

// judge fails the test if bystanders felt an attack, or attackers were let do
// what they want.
func judge(t *testing.T, r abuse.Result) {
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	for when, w := range map[string]*abuse.Waits{"before": &r.Before, "during": &r.During} {
		t.Logf("%s: p50 %s, p99 %s of %d waits; the machine stalled for %s", when, ms(w.Quantile(0.5)), ms(w.Quantile(0.99)), w.Count(), ms(w.Stall))
		for _, err := range w.Refused {
			t.Errorf("%s the attack: %v", when, err)
		}
		if w.Missing > 0 {
			t.Errorf("%d messages that were sent %s the attack did not come", w.Missing, when)
		}
	}
	t.Logf("the attackers: %s", r.Attackers)
	bound := r.Before.Quantile(0.99) + slowest() + hops*max(r.Before.Stall, r.During.Stall)
	if got := r.During.Quantile(0.99); got > bound {
		t.Errorf("bystanders waited for %s, and %s is the most that they were to", ms(got), ms(bound))
	}
	if r.Held != nil {
		t.Error(r.Held)
	}
}

// slowest is by how much longer bystanders may wait: a second, where attacks are
// measured (.ci/attacks) and have the machine for themselves; ten times as long
// where other tests run beside them, or with the race detector, whose manual says
// "5-15x". A system that does not withstand an attack lets them wait until it ends.
func slowest() time.Duration {
	if raced || os.Getenv("ABUSE_SECONDS") == "" {
		return 10 * time.Second
	}
	return time.Second
}

// forPeople returns settings that have the limits which people meet in place of
// those of tests, which are in a hurry, and all conversations in one partition.
func forPeople(t *testing.T, more ...string) []string {
	const unlimited = "1000000"
	for name, v := range system.Settings(t, "", "", "") {
		if v == unlimited {
			more = append(more, name, "")
		}
	}
	return append(more, "CLIENT_ADDRESS_HEADER", addressHeader, "KAFKA_PARTITIONS", "1")
}

// largeGroup makes users and a group of them, past the functions.
func largeGroup(ctx context.Context, site *abuse.Site, database string, n int) (abuse.Crowd, error) {
	owner, err := site.Join(ctx)
	if err != nil {
		return abuse.Crowd{}, err
	}
	c := abuse.Crowd{Owner: owner, Group: im.NewID()}
	for range n - 1 {
		c.Members = append(c.Members, im.NewID())
	}
	db, err := pgx.Connect(ctx, database)
	if err != nil {
		return c, err
	}
	defer db.Close(context.WithoutCancel(ctx))
	_, err = db.Exec(ctx, `INSERT INTO users (id, account, name, password) SELECT u, 'c' || u, u, '' FROM unnest($1::text[]) AS u`, c.Members)
	if err == nil {
		_, err = db.Exec(ctx, `INSERT INTO groups (id, name, owner_id, members, created) VALUES ($1, 'Crowd', $2, $3, now())`, c.Group, owner.ID, n)
	}
	if err == nil {
		_, err = db.Exec(ctx, `INSERT INTO group_members (group_id, user_id, role, joined) SELECT $1, u, CASE u WHEN $3 THEN 'owner' ELSE 'member' END, now() FROM unnest($2::text[]) AS u`,
			c.Group, append(c.Members, owner.ID), owner.ID)
	}
	return c, err
}
