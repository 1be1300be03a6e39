package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/catalog"
	"github.com/tidings-im/tidings/shared/postgres/searches"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/words"
)

const (
	searched        = 1_000_000 // messages, if they are put into the database
	searchedQuick   = 20_000
	searchedSent    = 120 // if they are sent
	searchGroups    = 500
	searchDirects   = 1000
	searchDays      = 29 // over which they spread: no month of them is archived, however early that is done
	searchSenders   = 5  // who take turns, in each conversation
	searchIndexStep = 200
)

// A ground is what is searched.
type ground struct {
	me           *user
	messages     int
	rare         [languages]string
	small        im.Conversation
	big          im.Conversation // with three messages in ten; "" if there is none
	from         string          // who sent one in searchSenders
	since, until im.Time         // a day of it; 0 if it has not so many
	db           *searches.Store // nil if only the front door is open
}

// searches measures message-search on what was put into the database, or, if
// that cannot be reached, on a little that was sent.
func (b *bench) searches(ctx context.Context) error {
	users, err := b.crew.muster(ctx, 10)
	if err != nil {
		return err
	}
	var g *ground
	if b.postgres == "" {
		if g, err = b.sayAll(ctx, users[8], users[9]); err == nil {
			b.asked.add(fmt.Sprintf("message-search in %d messages", g.messages), "set POSTGRES_URL for 1,000,000, which are put there first")
		}
	} else {
		env := proc.NewEnv(func(k string) string {
			switch k {
			case "POSTGRES_URL":
				return b.postgres
			case "POSTGRES_TIMEOUT":
				return "5m"
			}
			return os.Getenv(k)
		}, slog.New(slog.DiscardHandler))
		defer env.Close()
		if g, err = b.seedSearch(ctx, env, users[8]); err == nil {
			b.asked.add(fmt.Sprintf("message-search in %s messages of %s conversations", thousands(g.messages), thousands(searchGroups+searchDirects)))
		}
	}
	if err != nil {
		return fmt.Errorf("preparing what is searched: %w", err)
	}
	for _, q := range g.queries() {
		note := q.note
		if g.db != nil && q.explain {
			plan, err := g.explain(ctx, &b.found, q)
			if err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			note = strings.TrimPrefix(note+"; "+plan, "; ")
		}
		if err := b.askAll(ctx, []call{{q.name, note, func(ctx context.Context, ask asker) error { return b.find(ctx, ask, g.me, q) }}}); err != nil {
			return err
		}
	}
	return nil
}

// A query is something to search for.
type query struct {
	name, note string
	url.Values
	least, most int // messages that are to be found, on as many pages as that takes
	explain     bool
}

// plenty is as many as there are.
const plenty = 1 << 30

func (g *ground) queries() []query {
	in := "everywhere: "
	ask := func(name, q string, least, most int) query {
		return query{name: in + name, Values: url.Values{"q": {q}}, least: least, most: most}
	}
	one := func(name, q string) query {
		r := ask(name, q, 1, 1)
		r.explain = true
		return r
	}
	all := []query{
		ask("an English word of one message in twelve", common[english], 10, plenty),
		one("an English word of one message", g.rare[english]),
		one("Chinese, two characters of one message", g.rare[chinese]),
		one("Japanese, a word of one message", g.rare[japanese]),
		one("Korean, a word of one message", g.rare[korean]),
		ask("Chinese, a word of one message in twelve", common[chinese], 10, plenty),
		ask("one Chinese character", "好", 10, plenty),
		ask("two letters, with which words begin", word(0)[:2], 10, plenty),
		ask("two common words", word(2)+" "+word(5), 0, plenty),
	}
	none := ask("a word of no message", "quetzalcoatl", 0, 0)
	none.note = "and then the guess that it was misspelt"
	by := ask("a common word, by one sender in five", common[english], 1, plenty)
	by.Set("from", g.from)
	all = append(all, none, by)
	if g.until > 0 {
		during := ask("a common word, in one day of a month", common[english], 20, plenty)
		during.Set("since", g.since.String())
		during.Set("until", g.until.String())
		all = append(all, during)
	}
	in = "in one conversation: "
	small := ask("a common word", common[english], 1, plenty)
	small.Set("conversation", string(g.small))
	all = append(all, small)
	if g.big != "" {
		in = fmt.Sprintf("in one of %s messages: ", thousands(g.messages*3/10))
		word := ask("a common word", common[english], 20, plenty)
		word.Set("conversation", string(g.big))
		none := ask("a word of no message", "quetzalcoatl", 0, 0)
		none.Set("conversation", string(g.big))
		none.explain = true
		all = append(all, word, none)
	}
	return all
}

// find searches until there is something, or no more to look at, and checks
// what there is.
func (b *bench) find(ctx context.Context, ask asker, me *user, q query) error {
	var page struct {
		Messages []struct {
			Message im.Message `json:"message"`
		} `json:"messages"`
		Next string `json:"next"`
	}
	n := 0
	for v := maps.Clone(q.Values); ; v.Set("cursor", page.Next) {
		page.Messages, page.Next = nil, ""
		answer, err := ask(ctx, me, http.MethodGet, "/v1/messages/search?"+v.Encode(), nil)
		if err := into(answer, err, &page); err != nil {
			return err
		}
		if n += len(page.Messages); n >= q.least && n > 0 || page.Next == "" {
			break
		}
	}
	if n < q.least || n > q.most {
		b.found.add("searching, %s: %d messages were found, not %d to %d", q.name, n, q.least, q.most)
	}
	return nil
}

// explain returns what PostgreSQL's plan for a query comes to. A walk through a
// table is a violation.
func (g *ground) explain(ctx context.Context, found *findings, q query) (string, error) {
	scopes, err := g.db.SearchScope(ctx, g.me.ID, im.Conversation(q.Get("conversation")))
	if err != nil {
		return "", err
	}
	parsed, err := words.Parse(q.Get("q"))
	if err != nil {
		return "", err
	}
	b, err := g.db.ExplainSearch(ctx, scopes, words.Stretch{To: im.Place{Time: im.Now(), ID: zeroID}, From: im.Place{ID: zeroID}, Filters: parsed.Filters(), Limit: 1000})
	if err != nil {
		return "", err
	}
	var plans []struct {
		Plan planNode
		Time float64 `json:"Execution Time"`
	}
	if err := json.Unmarshal(b, &plans); err != nil || len(plans) != 1 {
		return "", fmt.Errorf("reading a plan: %w", err)
	}
	scans, spans := make(map[string]int), 0
	plans[0].Plan.walk(func(n *planNode) {
		switch {
		case n.Subplan == "CTE spans":
			spans = int(n.Rows)
		case n.Table == "" || n.Loops == 0:
			return
		case n.Type == "Seq Scan":
			found.add("searching, %s: PostgreSQL walks through the table %s", q.name, n.Table)
		}
		table := n.Table
		if strings.HasPrefix(table, "messages_") { // its partitions
			table = "messages"
		}
		if table != "" {
			scans[fmt.Sprintf("%s of %s", strings.ToLower(n.Type), table)] += n.Loops
		}
	})
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(scans)) {
		parts = append(parts, fmt.Sprintf("%s × %s", what, thousands(scans[what])))
	}
	return fmt.Sprintf("plan: %s blocks and ends of conversations are read (%s) in %.0f ms", thousands(spans), strings.Join(parts, ", "), plans[0].Time), nil
}

const zeroID = "00000000-0000-0000-0000-000000000000"

// A planNode is a part of what EXPLAIN (FORMAT JSON) says.
type planNode struct {
	Type    string     `json:"Node Type"`
	Subplan string     `json:"Subplan Name"`
	Table   string     `json:"Relation Name"`
	Rows    float64    `json:"Actual Rows"` // of a loop
	Loops   int        `json:"Actual Loops"`
	Plans   []planNode `json:"Plans"`
}

func (n *planNode) walk(f func(*planNode)) {
	f(n)
	for i := range n.Plans {
		n.Plans[i].walk(f)
	}
}

// sayAll has two users say something to each other, and waits until the last of
// it is found.
func (b *bench) sayAll(ctx context.Context, me, other *user) (*ground, error) {
	g := &ground{me: me, messages: searchedSent, small: im.Direct(me.ID, other.ID), from: other.ID}
	// They may have said other things in an earlier run.
	for i := range g.rare {
		g.rare[i] = strings.NewReplacer("2", "a", "3", "e", "4", "i", "5", "o", "6", "u", "7", "y").Replace(im.NewID())
	}
	said := newCorpus(g.messages, g.rare)
	texts := make([]string, g.messages)
	for i := range texts {
		texts[i] = said.say(i)
	}
	if err := each(ctx, g.messages, apiCallers, func(ctx context.Context, i int) error {
		from, to := me, other
		if i%2 == 0 {
			from, to = other, me
		}
		return b.api.Call(ctx, http.MethodPost, "/v1/messages", from.AccessToken, map[string]string{"to": "u:" + to.ID, "text": texts[i]}, nil)
	}); err != nil {
		return nil, err
	}
	ask := b.asker(b.api.HTTP)
	deadline := time.Now().Add(b.patience)
	for _, rare := range g.rare {
		for n := 0; n == 0 && time.Now().Before(deadline); {
			var page struct {
				Messages []json.RawMessage `json:"messages"`
			}
			answer, err := ask(ctx, me, http.MethodGet, "/v1/messages/search?"+url.Values{"q": {rare}}.Encode(), nil)
			if err := into(answer, err, &page); err != nil {
				return nil, err
			}
			n = len(page.Messages)
		}
	}
	return g, nil
}

// seedSearch puts messages into conversations of a user, unless they are there,
// and indexes them, as search-index does.
func (b *bench) seedSearch(ctx context.Context, env *proc.Env, me *user) (*ground, error) {
	g := &ground{me: me, messages: searched, rare: [languages]string{"xylophone", "鑫鱻", "ヴィオラ弾き", "뷁쉛"}}
	if b.quick {
		g.messages = searchedQuick
	}
	db, err := postgres.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	g.db = searches.New(db)
	conn, err := pgx.Connect(ctx, b.postgres)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET statement_timeout = 0`); err != nil {
		return nil, err
	}
	all, others, err := searchConversations(ctx, conn, me.ID)
	if err != nil {
		return nil, fmt.Errorf("making conversations: %w", err)
	}
	g.big, g.small, g.from = all[0], all[searchGroups], others[0]

	const day = 24 * im.Time(time.Hour/time.Microsecond)
	began := im.Now() - searchDays*day
	tag := fmt.Sprintf("search-%d", g.messages)
	var there int
	var first *time.Time
	if err := conn.QueryRow(ctx, `SELECT count(*), min(time) FROM messages WHERE client_id = $1 AND conversation = ANY($2)`, tag, all).Scan(&there, &first); err != nil {
		return nil, err
	}
	again := there == g.messages && first != nil && im.TimeOf(*first) > began-day/2 // later they are not recent any more
	if again {
		began = im.TimeOf(*first)
	}
	g.since, g.until = began+10*day, began+11*day
	if again {
		return g, nil
	}
	for _, sql := range []string{`DELETE FROM messages WHERE conversation = ANY($1)`, `DELETE FROM search_blocks WHERE conversation = ANY($1)`} {
		if _, err := conn.Exec(ctx, sql, all); err != nil {
			return nil, err
		}
	}
	for _, at := range []im.Time{began, began + searchDays*day} {
		month := time.Date(at.Std().UTC().Year(), at.Std().UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
		span := im.Span{Starts: im.TimeOf(month), Ends: im.TimeOf(month.AddDate(0, 1, 0)), Source: "messages_" + month.Format("2006_01")}
		if _, err := catalog.New(db).MakePartition(ctx, span); err != nil {
			return nil, err
		}
	}
	said := newCorpus(g.messages, g.rare)
	step := searchDays * day / im.Time(g.messages)
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"conversation", "time", "id", "sender", "client_id", "kind", "text"},
		pgx.CopyFromSlice(g.messages, func(i int) ([]any, error) {
			c := g.big
			if i%10 >= 3 {
				c = all[said.random.IntN(len(all))]
			}
			at := began + im.Time(i)*step
			return []any{string(c), at.Std(), im.NewMessageID(at), others[i/languages%searchSenders], tag, im.KindText, said.say(i)}, nil
		})); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `ANALYZE`); err != nil {
		return nil, err
	}
	start := time.Now()
	for rounds := 0; rounds < 2; { // the first may have begun in the middle
		done, err := g.db.IndexSearch(ctx, searchIndexStep)
		if err != nil {
			return nil, err
		}
		if done {
			rounds++
		}
	}
	took := time.Since(start)
	var bytes int64
	if err := conn.QueryRow(ctx, `SELECT pg_total_relation_size('search_blocks')`).Scan(&bytes); err != nil {
		return nil, err
	}
	b.report.add(fmt.Sprintf("search-index: %s messages in %s conversations", thousands(g.messages), thousands(len(all))),
		fmt.Sprintf("**%s** indexed", count(float64(g.messages)/took.Seconds())), "", "", "", fmt.Sprintf("%d bytes of blocks a message; search-index may have done a part of it meanwhile", bytes/int64(g.messages)))
	return g, nil
}

// searchConversations returns the conversations of a user, which it makes if
// they are not there, the groups first, and with whom they are.
func searchConversations(ctx context.Context, conn *pgx.Conn, me string) (all []im.Conversation, others []string, err error) {
	var groups []string
	for i := range searchGroups {
		g := me[:8] + "g" + letterID(i, 7)
		groups, all = append(groups, g), append(all, im.Group(g))
	}
	for i := range searchDirects {
		o := me[:8] + "o" + letterID(i, 7)
		others, all = append(others, o), append(all, im.Direct(me, o))
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO users (id, account, name, password) SELECT i, 's-' || i, 'Bench', '-' FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, others)
	batch.Queue(`INSERT INTO groups (id, name, owner_id, created, members) SELECT i, 'Bench', $2, now(), 1 FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, groups, me)
	batch.Queue(`INSERT INTO group_members (group_id, user_id, role, joined) SELECT i, $2, 'owner', now() FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, groups, me)
	batch.Queue(`INSERT INTO direct_conversations (user_id, conversation) SELECT $2, c FROM unnest($1::text[]) AS c ON CONFLICT DO NOTHING`, all[searchGroups:], me)
	return all, others, conn.SendBatch(ctx, batch).Close()
}

// letterID returns n as so many letters, as ids have them.
func letterID(n, digits int) string {
	b := make([]byte, digits)
	for i := range b {
		b[digits-1-i] = 'a' + byte(n%26)
		n /= 26
	}
	return string(b)
}
