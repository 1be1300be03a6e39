package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// world is a database, and what is told of changes in it.
type world struct {
	t  testing.TB
	db *pgtest.DB

	mu   sync.Mutex
	told []im.Notice
}

func newWorld(t testing.TB) *world {
	t.Helper()
	env := imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate)})
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, db: db}
}

// change is a changer.
func (w *world) change(ctx context.Context, f func(context.Context, tx) error) error {
	var left []im.Notice
	_, _, err := w.db.Change(ctx,
		func(ctx context.Context, tx *pgtest.Tx) error { return f(ctx, tx) },
		func(_ context.Context, stale []im.Stale, notices []im.Notice) ([]im.Pending, error) {
			for _, n := range notices { // what members see of a group has changed if they are told of it
				if !n.Quiet && !slices.ContainsFunc(stale, func(s im.Stale) bool { return s.Group == n.Conversation.Group() }) {
					w.t.Errorf("%s is told of, and nothing is stale", n.Type)
				}
			}
			left = notices
			return nil, nil
		})
	if err == nil {
		w.mu.Lock()
		w.told = append(w.told, left...)
		w.mu.Unlock()
	}
	return err
}

// notices returns what was told since it was last asked.
func (w *world) notices() []im.Notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// users adds n users and returns their ids.
func (w *world) users(n int) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(rune('a'+i%26)) + im.NewID()[1:] // of few users the order is known
		if err := w.db.CreateUser(w.t.Context(), im.User{ID: ids[i], Account: "u" + ids[i], Name: "User"}, "-"); err != nil {
			w.t.Fatal(err)
		}
	}
	return ids
}

func (w *world) invites() invites { return invites{w.db, im.DirectOpen, 1000, noLimit{}, noLimit{}} }

// as returns who calls.
func as(user string) im.Caller { return im.Caller{User: user} }

// club is a group with somebody in each role.
type club struct {
	*world
	id    string
	names map[string]string // of ids
	ids   map[string]string // of names
}

// newClub makes a group of "owner", "admin", "admin2", "member" and "member2",
// and users who are not in it: "outsider", "asker", who asks to join it where
// that is the policy, and "other".
func newClub(w *world, policy im.Policy) *club {
	w.t.Helper()
	c := &club{world: w, names: map[string]string{}, ids: map[string]string{}}
	all := []string{"owner", "admin", "admin2", "member", "member2", "outsider", "asker", "other"}
	for i, id := range w.users(len(all)) {
		c.names[id], c.ids[all[i]] = all[i], id
	}
	made, err := (&creator{w.change, w.invites(), im.Now}).call(w.t.Context(), as(c.ids["owner"]), newGroup{
		Name: "Club", Policy: policy, Members: []string{c.ids["admin"], c.ids["admin2"], c.ids["member"], c.ids["member2"]},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c.id = made.ID
	for _, a := range []string{"admin", "admin2"} {
		if _, err := role(w.change)(w.t.Context(), as(c.ids["owner"]), roleRequest{c.id, c.ids[a], im.RoleAdmin}); err != nil {
			w.t.Fatal(err)
		}
	}
	if policy == im.PolicyApproval {
		if s, err := (&joiner{w.change, w.invites(), im.Now}).ask(w.t.Context(), as(c.ids["asker"]), joinRequest{c.id, "may I"}); err != nil || s.State != pending {
			w.t.Fatal(s, err)
		}
	}
	w.notices()
	return c
}

// name returns what somebody is called.
func (c *club) name(id string) string {
	if n, ok := c.names[id]; ok {
		return n
	}
	return id
}

// told returns what was told since it was last asked: who told what to whom,
// such as "owner group.left {…} [owner member]".
func (c *club) told() []string {
	var out []string
	for _, n := range c.notices() {
		slices.Sort(n.To)
		s := fmt.Sprintf("%s %s %s %s", n.From, n.Type, n.Data, n.To)
		for id, name := range c.names {
			s = strings.ReplaceAll(s, id, name)
		}
		if n.Quiet {
			s += " quietly"
		}
		out = append(out, s)
	}
	return out
}

// state returns all that is stored of the group.
func (c *club) state() string {
	c.t.Helper()
	ctx := c.t.Context()
	g, err := c.db.Group(ctx, c.id, "")
	if err != nil {
		return im.ProblemOf(err).Detail
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %q %s %t\n", c.name(g.Owner), g.Name, g.About, g.Policy, g.Muted)
	bans, err := c.db.Bans(ctx, c.id, 0, "", 100)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, ban := range bans {
		fmt.Fprintf(&b, "not %s, for %q until %s\n", c.name(ban.User.ID), ban.Reason, ban.Until)
	}
	members, err := c.db.MemberList(ctx, c.id, "", im.MaxGroup+1)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(members) != g.Members {
		c.t.Errorf("%d members are counted as %d", len(members), g.Members)
	}
	slices.SortFunc(members, func(a, b im.GroupMember) int { return strings.Compare(c.name(a.User.ID), c.name(b.User.ID)) })
	for _, m := range members {
		fmt.Fprintf(&b, "%s %s", c.name(m.User.ID), m.Role)
		if m.MutedUntil != 0 {
			fmt.Fprintf(&b, " muted until %s", m.MutedUntil)
		}
		b.WriteByte('\n')
	}
	asking, err := c.db.JoinRequests(ctx, c.id, 0, "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range asking {
		fmt.Fprintf(&b, "%s asks %q\n", c.name(r.User.ID), r.Message)
	}
	return b.String()
}

// noLimit lets everybody add as many as they like.
type noLimit struct{}

func (noLimit) AllowN(context.Context, string, int) error { return nil }

func (noLimit) Reach(context.Context, string, ...string) error { return nil }
