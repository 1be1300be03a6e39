package faults

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/retry"
)

// A person is somebody who chats: what they sent and was accepted, and what
// they were given.
type person struct {
	user   im.User
	client *client.Client

	mu       sync.Mutex
	received []client.Message
	accepted []sent
	failed   []error // of messages that were refused for good
}

type sent struct {
	client.Receipt
	replyTo string
}

// join registers somebody and connects them to a gateway.
func join(t *testing.T, url, account string) *person {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience(t))
	defer cancel()
	api := &client.API{URL: url}
	password := "correct horse battery"
	user, err := api.Register(ctx, account, account, password)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{user: user}
	p.client, err = client.Connect(ctx, client.Options{
		URL: url, Account: account, Password: password, Device: "d-" + account, Platform: "desktop",
		OnMessage: func(_ context.Context, _ *client.Client, m client.Message) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.received = append(p.received, m)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.client.Close() })
	return p
}

// last returns the last message p was given of a conversation, of somebody else.
func (p *person) last(c im.Conversation) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range slices.Backward(p.received) {
		if m.Conversation == c && m.From != p.user.ID {
			return m.ID
		}
	}
	return ""
}

// count returns how many messages of people p was given.
func (p *person) count() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.received {
		if m.Kind == im.KindText {
			n++
		}
	}
	return n
}

// talk sends to each of to in turn until ctx ends, answering the last message
// of the conversation each time, and waits for each message to be accepted.
// What was begun when ctx ends is finished.
func (p *person) talk(ctx context.Context, every time.Duration, to ...string) error {
	for i := 0; ; i++ {
		if retry.Sleep(ctx, every) != nil {
			return nil
		}
		d := im.Draft{To: to[i%len(to)], Text: fmt.Sprintf("%s says %d", p.user.Account, i)}
		c, err := d.Conversation(p.user.ID)
		if err != nil {
			return err
		}
		d.ReplyTo = p.last(c)
		// Longer than any fault: a message that is never accepted is a finding.
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		r, err := p.client.SendDraft(sending, d)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: message %d to %s: %w", p.user.Account, i, d.To, err)
		}
		p.mu.Lock()
		p.accepted = append(p.accepted, sent{r, d.ReplyTo})
		p.mu.Unlock()
	}
}

// A crowd is people and what they talk about.
type crowd struct {
	people []*person
	group  im.GroupInfo
}

// gather lets n people join, spread over the gateways, with one group of all.
func gather(t *testing.T, n int, urls ...string) *crowd {
	t.Helper()
	c := &crowd{people: make([]*person, n)}
	for i := range n {
		c.people[i] = join(t, urls[i%len(urls)], fmt.Sprintf("person%d", i))
	}
	var others []string
	for _, p := range c.people[1:] {
		others = append(others, p.user.ID)
	}
	var err error
	if c.group, err = c.people[0].client.CreateGroup(t.Context(), "all of us", others); err != nil {
		t.Fatal(err)
	}
	return c
}

// talking lets everybody talk, to the next in line and to the group, until the
// function it returns is called; that one waits for what was begun.
func (c *crowd) talking(t *testing.T, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	for i, p := range c.people {
		next := c.people[(i+1)%len(c.people)]
		wg.Go(func() {
			if err := p.talk(ctx, every, "u:"+next.user.ID, "u:"+next.user.ID, string(c.group.Conversation)); err != nil {
				p.mu.Lock()
				p.failed = append(p.failed, err)
				p.mu.Unlock()
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// expected returns the ids of the messages that p must have: all that were
// accepted in a conversation of theirs.
func (c *crowd) expected(p *person) map[string]bool {
	want := make(map[string]bool)
	for _, q := range c.people {
		q.mu.Lock()
		for _, s := range q.accepted {
			if s.Conversation.Group() != "" || s.Conversation.Peer(p.user.ID) != "" {
				want[s.ID] = true
			}
		}
		q.mu.Unlock()
	}
	return want
}

// caughtUp waits until everybody was given everything that was accepted.
func (c *crowd) caughtUp(t *testing.T) {
	t.Helper()
	for _, p := range c.people {
		want := c.expected(p)
		imtest.Eventually(t, p.user.Account+" has everything", func() error {
			if err := p.client.Err(); err != nil {
				return fmt.Errorf("the client stopped: %w", err)
			}
			if got := p.count(); got < len(want) {
				return fmt.Errorf("%d of %d messages", got, len(want))
			}
			return nil
		})
	}
}

// check holds what everybody sent and was given, and what the databases hold,
// against the promises.
func (c *crowd) check(t *testing.T, postgresURL string) {
	t.Helper()
	total := 0
	for _, p := range c.people {
		for _, err := range p.failed {
			t.Errorf("P1, P5: a message was never accepted: %v", err)
		}
		total += len(p.accepted)
	}
	if total == 0 {
		t.Fatal("nobody said anything")
	}
	for _, p := range c.people {
		p.check(t, c.expected(p))
	}
	c.checkOrder(t)
	c.checkStores(t, postgresURL)
	t.Logf("%d messages were accepted, and everybody has theirs", total)
}

// check holds what p was given against P2, P3 and P4.
func (p *person) check(t *testing.T, want map[string]bool) {
	t.Helper()
	seen := make(map[string]int)
	for i, m := range p.received {
		if m.Seq != int64(i)+1 {
			t.Errorf("P3: %s was given seq %d as number %d", p.user.Account, m.Seq, i+1)
			break
		}
		seen[m.ID]++
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("P2: %s was given %s %d times", p.user.Account, id, n)
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("P1: %s was never given %d accepted messages", p.user.Account, len(want))
	}
}

// checkOrder holds the order of conversations against P4.
func (c *crowd) checkOrder(t *testing.T) {
	t.Helper()
	place := make(map[string]im.Place) // by message id
	for _, p := range c.people {
		for _, m := range p.received {
			if had, ok := place[m.ID]; ok && had != m.Place() {
				t.Errorf("P4: %s is at %v for one and at %v for another", m.ID, had, m.Place())
			}
			place[m.ID] = m.Place()
		}
	}
	for _, p := range c.people {
		last := make(map[im.Conversation]sent)
		for _, s := range p.accepted {
			if had, ok := last[s.Conversation]; ok && !had.Place().Less(s.Place()) {
				t.Errorf("P4: %s sent %s before %s, but it stands behind", p.user.Account, had.ID, s.ID)
			}
			last[s.Conversation] = s
			if s.replyTo != "" && !place[s.replyTo].Less(s.Place()) {
				t.Errorf("P4: %s stands before %s, which it answers", s.ID, s.replyTo)
			}
			if had, ok := place[s.ID]; ok && had != s.Place() {
				t.Errorf("P5: the sender was told that %s is at %v, but it is at %v", s.ID, s.Place(), had)
			}
		}
	}
}

// checkStores holds history and inboxes against P2.
func (c *crowd) checkStores(t *testing.T, url string) {
	t.Helper()
	ctx := t.Context()
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	for name, query := range map[string]string{
		"P2: messages twice in history":      `SELECT count(*) FROM (SELECT 1 FROM messages GROUP BY id HAVING count(*) > 1) d`,
		"P2: sends that became two messages": `SELECT count(*) FROM (SELECT 1 FROM messages GROUP BY sender, client_id HAVING count(*) > 1) d`,
		"P2: entries twice in an inbox":      `SELECT count(*) FROM (SELECT 1 FROM inbox GROUP BY user_id, message_id HAVING count(*) > 1) d`,
		"P3: inboxes with holes":             `SELECT count(*) FROM (SELECT 1 FROM inbox GROUP BY user_id HAVING max(seq) <> count(*) OR min(seq) <> 1) d`,
		"P2: inbox entries not in history":   `SELECT count(*) FROM inbox i WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = i.message_id)`,
		"P2: history that is in no inbox":    `SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE m.id = i.message_id)`,
		"P2: messages not in all their inboxes": fmt.Sprintf(`SELECT count(*) FROM messages m
			WHERE (SELECT count(*) FROM inbox i WHERE i.message_id = m.id) <> CASE WHEN m.conversation LIKE 'g:%%' THEN %d ELSE 2 END`, len(c.people)),
	} {
		// History is written beside the inbox, so it may be a moment behind.
		imtest.Eventually(t, name, func() error {
			var n int
			if err := db.QueryRow(ctx, query).Scan(&n); err != nil {
				return err
			}
			if n != 0 {
				return fmt.Errorf("%d of them", n)
			}
			return nil
		})
	}
	kept := make(map[string]bool)
	rows, err := db.Query(ctx, `SELECT id::text FROM messages`)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		kept[id] = true
	}
	lost := 0
	for _, p := range c.people {
		for _, s := range p.accepted {
			if !kept[s.ID] {
				lost++
			}
		}
	}
	if lost > 0 {
		t.Errorf("P1: %d accepted messages are not in history", lost)
	}
}

// checkHistory reads a conversation through the API and compares it with what
// members were given of it, sorted by place.
func (c *crowd) checkHistory(t *testing.T) {
	t.Helper()
	p := c.people[0]
	conv := c.group.Conversation
	var want []im.Place
	for _, m := range p.received {
		if m.Conversation == conv {
			want = append(want, m.Place())
		}
	}
	slices.SortFunc(want, func(a, b im.Place) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) })
	var got []im.Place // newest first, as it is paged
	for before := ""; ; {
		page, err := p.client.History(t.Context(), conv, client.HistoryRange{Before: before, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range slices.Backward(page.Messages) {
			got = append(got, m.Place())
		}
		if before = page.Prev; before == "" {
			break
		}
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("P4: history has %d messages of the group, its members were given %d, or in another order", len(got), len(want))
	}
}

// Place returns where the message of a receipt stands.
func (s sent) Place() im.Place { return im.Place{Time: s.Time, ID: s.ID} }
