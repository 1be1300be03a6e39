package outbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/postgres/notices"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

func TestMain(m *testing.M) {
	if at := os.Getenv("OUTBOX_DIE"); at != "" {
		os.Exit(die(at, os.Getenv("OUTBOX_GROUP"), os.Getenv("OUTBOX_OWNER")))
	}
	os.Exit(m.Run())
}

// services are settings of real services, with tables and topics.
func services(t *testing.T, given map[string]string) map[string]string {
	t.Helper()
	vars := map[string]string{"SEAL_KEYS": "k:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))}
	maps.Copy(vars, given)
	for name, start := range map[string]func() string{
		"POSTGRES_URL":  func() string { return imtest.Migrated(t, postgres.Migrate) },
		"REDIS_URL":     func() string { return imtest.Redis(t) },
		"KAFKA_BROKERS": func() string { return strings.Join(imtest.Kafka(t), ",") },
	} {
		if vars[name] == "" {
			vars[name] = start()
		}
	}
	env := imtest.Env(t, vars)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := kafka.EnsureTopics(ctx, env); err != nil {
		t.Fatal(err)
	}
	return vars
}

// A process is an outbox as a process has it, and what the process has beside.
type process struct {
	*Outbox
	env *proc.Env
	db  *pgtest.DB
}

func newProcess(t *testing.T, vars map[string]string) process {
	t.Helper()
	p, err := startProcess(imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startProcess(env *proc.Env) (process, error) {
	o, err := Open(context.Background(), env)
	if err != nil {
		return process{}, err
	}
	db, err := pgtest.Open(context.Background(), env)
	if err != nil {
		return process{}, err
	}
	own := *o
	own.store = impatient{notices.New(db.DB)}
	return process{&own, env, db}, nil
}

// impatient leaves the makers of changes no time.
type impatient struct{ *notices.Store }

func (i impatient) Pending(ctx context.Context, _ time.Duration, after im.Pending, limit int) ([]im.Pending, map[string]error, error) {
	return i.Store.Pending(ctx, 0, after, limit)
}

func user(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	id := im.NewID()
	if err := db.CreateUser(t.Context(), im.User{ID: id, Account: "u" + id, Name: "U"}, "hash"); err != nil {
		t.Fatal(err)
	}
	return id
}

// create makes a group, and leaves two notices of it.
func create(ctx context.Context, o *Outbox, group, owner string) error {
	return o.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		g := im.GroupInfo{ID: group, Conversation: im.Group(group), Name: "staff", Owner: owner, Policy: im.PolicyInvite, Created: im.Now()}
		if _, err := groups.With(tx).CreateGroup(ctx, g, nil); err != nil {
			return err
		}
		for _, typ := range []string{im.GroupCreated, im.GroupUpdated} {
			n, err := im.NewNotice(typ, g.Conversation, owner, map[string]any{"z": "<1>", "name": g.Name, "version": 1})
			if err != nil {
				return err
			}
			tx.Notify(n)
		}
		return nil
	})
}

// told returns what Kafka holds of the notices of a group, in order.
func told(t *testing.T, env *proc.Env, group string) []event.Event {
	t.Helper()
	var got []event.Event
	err := kafka.Scan(t.Context(), env, event.TopicMessages, nil, func(r kafka.Record) error {
		e, err := r.Event()
		if err == nil && e.PartitionKey == string(im.Group(group)) {
			e.Data = bytes.Clone(e.Data)
			got = append(got, e)
		}
		return nil // others use the topic
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// messages returns the messages that events are of, each once, in the order in
// which each came first. It fails the test if a repeat is another message.
func messages(t *testing.T, events []event.Event) []im.Message {
	t.Helper()
	first := map[string]event.Event{}
	var list []im.Message
	for _, e := range events {
		had, ok := first[e.ID]
		if ok {
			if had.Time != e.Time || string(had.Data) != string(e.Data) || had.Seal != e.Seal {
				t.Errorf("one id, two messages:\n%+v %s\n%+v %s", had, had.Data, e, e.Data)
			}
			continue
		}
		first[e.ID] = e
		var a event.Accepted
		if err := json.Unmarshal(e.Data, &a); err != nil {
			t.Fatal(err)
		}
		if a.Message.ID != e.ID || a.Message.Time != e.Time {
			t.Errorf("event %s holds %+v", e.ID, a.Message)
		}
		list = append(list, a.Message)
	}
	return list
}

// isTold fails the test unless both notices of a group have been published.
func isTold(t *testing.T, env *proc.Env, group string) {
	t.Helper()
	got := messages(t, told(t, env, group))
	if len(got) != 2 || !got[0].Place().Less(got[1].Place()) ||
		!strings.HasPrefix(string(got[0].Data), `{"type":"group.created"`) || !strings.HasPrefix(string(got[1].Data), `{"type":"group.updated"`) {
		t.Errorf("Kafka has %+v", got)
	}
}

func exists(t *testing.T, db *pgtest.DB, group string) bool {
	t.Helper()
	of, err := db.GroupMembers(t.Context(), []string{group})
	if err != nil {
		t.Fatal(err)
	}
	return len(of) == 1
}

// waiting returns how many notices are in the outbox, and how many are aside.
func waiting(t *testing.T, vars map[string]string) (pending, aside int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE failed IS NULL), count(failed) FROM outbox`).Scan(&pending, &aside); err != nil {
		t.Fatal(err)
	}
	return pending, aside
}

func TestAChangeIsToldOfOnce(t *testing.T) {
	vars := services(t, nil)
	p := newProcess(t, vars)
	group, owner := im.NewID(), user(t, p.db)
	if err := create(t.Context(), p.Outbox, group, owner); err != nil {
		t.Fatal(err)
	}
	if got := told(t, p.env, group); len(got) != 2 || !exists(t, p.db, group) {
		t.Errorf("Kafka has %d events", len(got))
	}
	isTold(t, p.env, group)
	if n, aside := waiting(t, vars); n != 0 || aside != 0 {
		t.Errorf("%d notices wait, %d are aside", n, aside)
	}
	if err := p.Relay(t.Context()); err != nil || len(told(t, p.env, group)) != 2 {
		t.Errorf("the relay, which has nothing to do: %v", err)
	}
}

// die kills this process in the middle of a change.
func die(at, group, owner string) int {
	p, err := startProcess(proc.NewEnv(os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	k := &killer{at: at, caches: p.caches, places: p.places, publisher: p.to, store: p.store}
	p.caches, p.places, p.to, p.store = k, k, k, mortal{p.store, k}
	fmt.Println("not killed:", create(context.Background(), p.Outbox, group, owner))
	return 1
}

type killer struct {
	at       string
	withdrew int
	caches
	places
	publisher
	store store
}

func (k *killer) reached(point string) {
	if point == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k *killer) Withdraw(ctx context.Context, s []im.Stale) error {
	k.withdrew++
	k.reached(fmt.Sprint("withdrawing ", k.withdrew))
	return k.caches.Withdraw(ctx, s)
}

func (k *killer) Place(ctx context.Context, r []im.PlaceRequest) []im.PlaceResult {
	defer k.reached("placed")
	return k.places.Place(ctx, r)
}

func (k *killer) PublishEach(ctx context.Context, topic string, events []event.Event) []error {
	k.reached("publishing")
	k.publisher.PublishEach(ctx, topic, events[:1])
	k.reached("published one")
	defer k.reached("published")
	return k.publisher.PublishEach(ctx, topic, events[1:])
}

type mortal struct {
	store
	*killer
}

func (m mortal) Published(ctx context.Context, ids []string) error {
	defer m.reached("taken out")
	return m.store.Published(ctx, ids)
}

// Killed at any step, a change is made and told of once, or neither.
func TestP1WhoeverIsKilledInTheMiddleOfAChange(t *testing.T) {
	vars := services(t, nil)
	p, q := newProcess(t, vars), newProcess(t, vars)
	owner := user(t, p.db)
	for _, tt := range []struct {
		at     string
		made   bool
		before int // events in Kafka when it is dead
	}{
		{"withdrawing 1", false, 0},
		{"placed", false, 0},
		{"withdrawing 2", true, 0},
		{"publishing", true, 0},
		{"published one", true, 1},
		{"published", true, 2},
		{"taken out", true, 2},
	} {
		t.Run(tt.at, func(t *testing.T) {
			group := im.NewID()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "OUTBOX_DIE="+tt.at, "OUTBOX_GROUP="+group, "OUTBOX_OWNER="+owner)
			for k, v := range vars {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			said, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v\n%s", err, said)
			}
			if n := len(told(t, p.env, group)); n != tt.before {
				t.Errorf("Kafka has %d events", n)
			}
			var relays sync.WaitGroup
			for _, o := range []process{p, q} { // two at once
				relays.Go(func() {
					if err := o.Relay(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			relays.Wait()
			if got := exists(t, p.db, group); got != tt.made {
				t.Errorf("made: %t", got)
			}
			if tt.made {
				isTold(t, p.env, group)
			} else if n := len(told(t, p.env, group)); n > 0 {
				t.Errorf("told of by %d events", n)
			}
			if n, aside := waiting(t, vars); n != 0 || aside != 0 {
				t.Errorf("%d notices wait, %d are aside", n, aside)
			}
		})
	}
}

func TestWithoutKafkaAChangeIsMadeAndToldOfLater(t *testing.T) {
	k := imtest.Start(t, "kafka")
	vars := services(t, map[string]string{"KAFKA_BROKERS": k.URL})
	p := newProcess(t, vars)
	group, owner := im.NewID(), user(t, p.db)
	k.Freeze()
	begin := time.Now()
	if err := create(t.Context(), p.Outbox, group, owner); err != nil || !exists(t, p.db, group) {
		t.Fatalf("it is not made: %v", err)
	}
	if took := time.Since(begin); took > publishTime+time.Minute { // Kafka would hold it up for ever
		t.Errorf("it took %s", took)
	}
	if err := p.Relay(t.Context()); im.KindOf(err) != im.Unavailable {
		t.Errorf("the relay: %v", err)
	}
	if n, _ := waiting(t, vars); n != 2 {
		t.Errorf("%d notices wait", n)
	}
	k.Thaw()
	imtest.Eventually(t, "the relay works", func() error { return p.Relay(t.Context()) })
	isTold(t, p.env, group)
}

func TestWithoutRedisNothingIsChanged(t *testing.T) {
	r := imtest.Start(t, "redis")
	vars := services(t, map[string]string{"REDIS_URL": r.URL, "REDIS_TIMEOUT": "200ms"})
	p := newProcess(t, vars)
	group, owner := im.NewID(), user(t, p.db)
	r.Kill()
	if err := create(t.Context(), p.Outbox, group, owner); im.KindOf(err) != im.Unavailable {
		t.Errorf("error = %v", err)
	}
	if exists(t, p.db, group) {
		t.Error("it is made")
	}
	if n, _ := waiting(t, vars); n != 0 {
		t.Errorf("%d notices wait", n)
	}
	r.Restart()
	imtest.Eventually(t, "it is made", func() error { return create(t.Context(), p.Outbox, group, owner) })
	isTold(t, p.env, group)
}

func TestAChangeThatFailsLeavesNothing(t *testing.T) {
	vars := services(t, nil)
	p := newProcess(t, vars)
	group, owner := im.NewID(), user(t, p.db)
	for name, fail := range map[string]func() error{
		"refused":  func() error { return im.Errorf(im.Denied, "you may not") },
		"a panic":  func() error { panic("at the disco") },
		"one more": func() error { return errors.New("broken") },
	} {
		func() {
			defer func() { recover() }()
			err := p.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
				g := im.GroupInfo{ID: group, Name: "staff", Owner: owner, Policy: im.PolicyInvite, Created: im.Now()}
				if _, err := groups.With(tx).CreateGroup(ctx, g, nil); err != nil {
					return err
				}
				tx.Notify(im.Notice{Conversation: im.Group(group), From: owner, Type: im.GroupCreated})
				return fail()
			})
			if name == "refused" && !errors.Is(err, im.Denied) || err == nil {
				t.Errorf("%s: %v", name, err)
			}
		}()
		if exists(t, p.db, group) || len(told(t, p.env, group)) > 0 {
			t.Errorf("%s: something is left", name)
		}
	}
	if n, _ := waiting(t, vars); n != 0 {
		t.Errorf("%d notices wait", n)
	}
}

// What one notice is like holds up no other.
func TestANoticeThatCannotBeReadIsSetAside(t *testing.T) {
	vars := services(t, nil)
	p := newProcess(t, vars)
	group, owner := im.NewID(), user(t, p.db)
	dead := *p.Outbox
	dead.to = deaf{}
	if err := create(t.Context(), &dead, group, owner); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	large := fmt.Sprintf(`{"conversation":"g:%s","from":"%s","type":"group.updated","data":{"name":"%s"}}`, group, owner, strings.Repeat("x", maxNotice))
	for i, notice := range []string{`not JSON`, `{"to":7}`, large, `{"data":[`} {
		_, err := conn.Exec(t.Context(), `INSERT INTO outbox (id, message_id, time, notice) VALUES ($1, gen_random_uuid(), '2020-01-01', $2)`,
			fmt.Sprint("bad", i), notice)
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := p.Relay(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	isTold(t, p.env, group)
	if n, aside := waiting(t, vars); n != 0 || aside != 4 {
		t.Errorf("%d notices wait, %d are aside", n, aside)
	}
	var why string
	if err := conn.QueryRow(t.Context(), `SELECT failed FROM outbox WHERE id = 'bad2'`).Scan(&why); err != nil || !strings.Contains(why, "too large") {
		t.Errorf("it does not say why: %q, %v", why, err)
	}
}

// deaf takes no event.
type deaf struct{}

func (deaf) PublishEach(_ context.Context, _ string, events []event.Event) []error {
	return slices.Repeat([]error{im.Errorf(im.Unavailable, "it is down")}, len(events))
}

// Two who wait for the same row are told of in the order in which they had it.
func TestP4NoticesStandInTheOrderOfTheChanges(t *testing.T) {
	vars := services(t, nil)
	group := im.NewID()
	procs := []process{newProcess(t, vars), newProcess(t, vars)}
	owner := user(t, procs[0].db)
	if err := create(t.Context(), procs[0].Outbox, group, owner); err != nil {
		t.Fatal(err)
	}
	const each = 15
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			o := *procs[n%2].Outbox
			if n == 3 {
				o.to = deaf{} // it leaves all of its notices to the relay
			}
			for range each {
				err := o.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
					if _, err := groups.With(tx).LockGroup(ctx, group, owner); err != nil {
						return err
					}
					name := "x"
					version, err := groups.With(tx).UpdateGroup(ctx, group, im.GroupChange{Name: &name})
					if err != nil {
						return err
					}
					n, err := im.NewNotice(im.GroupUpdated, im.Group(group), owner, map[string]int64{"version": version})
					tx.Notify(n)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, _ := waiting(t, vars); n != each {
		t.Errorf("%d notices wait", n)
	}
	if err := procs[0].Relay(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := messages(t, told(t, procs[0].env, group))
	slices.SortFunc(list, func(a, b im.Message) int {
		if a.Place().Less(b.Place()) {
			return -1
		}
		return 1
	})
	if len(list) != 2+4*each {
		t.Errorf("%d messages", len(list))
	}
	last := int64(0)
	for _, m := range list[2:] {
		var data struct{ Version int64 }
		if err := json.Unmarshal(m.Data, &data); err != nil || data.Version != last+1 && last > 0 {
			t.Errorf("after version %d comes %s, %v", last, m.Data, err)
		}
		last = data.Version
	}
}

// A process that read the members before a change, and is slow to put them into
// the cache, does not bring them back.
func TestASlowReaderDoesNotBringBackWhatWasBeforeAChange(t *testing.T) {
	vars := services(t, nil)
	p := newProcess(t, vars)
	owner := user(t, p.db)
	join := func(group, who string, atCommit func()) {
		t.Helper()
		o := *p.Outbox
		committing := false
		o.places = then{o.places, func() { committing = true; atCommit() }}
		o.caches = untilDead{o.caches, &committing}
		err := o.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			if _, err := groups.With(tx).LockGroup(ctx, group, owner); err != nil {
				return err
			}
			_, err := groups.With(tx).AddMembers(ctx, group, []string{who}, im.Now())
			tx.Notify(im.Notice{Conversation: im.Group(group), From: owner, Type: im.GroupJoined})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	client := func() *redis.Client {
		c, err := redis.Open(t.Context(), imtest.Env(t, vars))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tt := range []struct {
		name string
		// when, in the course of a change, the slow one reads and writes
		reads, writes string
	}{
		{"from before the change to after it", "before", "after"},
		{"from before the change to before it is committed", "before", "committing"},
		{"from before it is committed to after it", "committing", "after"},
		{"all before it is committed", "committing", "committing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			group := im.NewID()
			if err := create(t.Context(), p.Outbox, group, owner); err != nil {
				t.Fatal(err)
			}
			begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
			slow := client().NewMembers(pausing{p.db, begun, goOn})
			at := func(point string) {
				if point == tt.reads {
					go func() {
						defer close(ended)
						if _, err := slow.Members(t.Context(), group); err != nil {
							t.Error(err)
						}
					}()
					<-begun
				}
				if point == tt.writes {
					close(goOn)
					<-ended
				}
			}
			at("before")
			join(group, user(t, p.db), func() { at("committing") })
			at("after")
			for _, m := range []*redis.Members{slow, client().NewMembers(p.db)} {
				got, err := m.Members(t.Context(), group)
				if err != nil || len(got) != 2 {
					t.Errorf("members %v, %v", got, err)
				}
			}
		})
	}
}

// untilDead is of whoever makes a change and is killed when it is committed.
type untilDead struct {
	caches
	dead *bool
}

func (u untilDead) Withdraw(ctx context.Context, s []im.Stale) error {
	if *u.dead {
		return im.Errorf(im.Unavailable, "it is down")
	}
	return u.caches.Withdraw(ctx, s)
}

// then places, and calls f while the transaction is not committed.
type then struct {
	places
	f func()
}

func (p then) Place(ctx context.Context, r []im.PlaceRequest) []im.PlaceResult {
	p.f()
	return p.places.Place(ctx, r)
}

// pausing reads members once, and waits before it hands them over.
type pausing struct {
	db    *pgtest.DB
	begun chan struct{}
	goOn  chan struct{}
}

func (p pausing) GroupMembers(ctx context.Context, groups []string) (map[string]im.Members, error) {
	of, err := p.db.GroupMembers(ctx, groups)
	select {
	case <-p.begun:
	default:
		close(p.begun)
	}
	<-p.goOn
	return of, err
}

// A change is charged by whom it tells; one that its maker cannot pay for is not
// made.
func TestP7ChangesThatAGroupIsToldOfCostByRecipients(t *testing.T) {
	p := newProcess(t, services(t, map[string]string{"RECIPIENTS_BURST": "7", "RECIPIENTS_PER_MINUTE": "1", "GROUP_RECIPIENTS_BURST": "5", "GROUP_RECIPIENTS_PER_MINUTE": "1"}))
	owner, members := user(t, p.db), []string{user(t, p.db), user(t, p.db)}
	both := []string{im.NewID(), im.NewID()}
	for _, group := range both {
		err := p.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			_, err := groups.With(tx).CreateGroup(ctx, im.GroupInfo{ID: group, Name: "staff", Owner: owner, Policy: im.PolicyInvite, Created: im.Now()}, members)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(group, by, typ string, to ...string) error {
		return p.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			name := im.NewID()
			if _, err := groups.With(tx).UpdateGroup(ctx, group, im.GroupChange{Name: &name}); err != nil {
				return err
			}
			n, err := im.NewNotice(typ, im.Group(group), by, nil)
			n.To = to
			tx.Notify(n)
			return err
		})
	}
	fails := func(what string, err error) {
		t.Helper()
		var e *im.Error
		if !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter <= 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	works := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	works("3 of 7", change(both[0], owner, im.MessageEdited))
	works("3 more, of a group", change(both[1], owner, im.GroupUpdated))
	before, err := p.db.Group(t.Context(), both[1], owner)
	if err != nil {
		t.Fatal(err)
	}
	fails("3 more than 1", change(both[1], owner, im.MessageEdited))
	if after, err := p.db.Group(t.Context(), both[1], owner); err != nil || after.Name != before.Name || after.Version != before.Version {
		t.Errorf("what was refused was made: %+v, %v", after, err)
	}
	works("to oneself alone", change(both[1], owner, im.MessageRead, owner))
	// The group has paid 3 of 5 for the edit of its owner.
	fails("what a group is told of its messages", change(both[0], members[0], im.MessageReacted))
	works("what is done to the group itself", change(both[0], members[1], im.GroupMuted))
	// Who is deleted leaves, whatever that costs.
	works("leaving all", p.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		notices, err := groups.With(tx).LeaveAllGroups(ctx, owner)
		tx.Notify(notices...)
		return err
	}))
}
