package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	textBytes    = 100
	pairsRate    = 300 // messages per second of all pairs, paced
	groupRate    = 5
	groupSenders = 5
	groupWindow  = 2

	usedBefore = 40 << 20 // bytes: a gateway that has just started has fewer
)

// A scenario measures one thing and adds it to the report.
type scenario struct {
	name string
	run  func(*bench, context.Context) error
}

// scenarios are in the order in which they run. Idle connections come first,
// while the server has not used memory for anything else.
var scenarios = []scenario{
	{"idle", (*bench).idleConnections},
	{"window1", func(b *bench, ctx context.Context) error { return b.chat(ctx, 1, 0) }},
	{"window32", func(b *bench, ctx context.Context) error { return b.chat(ctx, 32, 0) }},
	{"paced", func(b *bench, ctx context.Context) error { return b.chat(ctx, 0, pairsRate) }},
	{"group", func(b *bench, ctx context.Context) error { return b.groupChat(ctx, groupWindow, 0) }},
	{"group-paced", func(b *bench, ctx context.Context) error { return b.groupChat(ctx, 0, groupRate) }},
	{"api", (*bench).calls},
	{"files", (*bench).files},
	{"search", (*bench).searches},
	{"archive", (*bench).archive},
	{"accounts", (*bench).accounts},
	{"bots", (*bench).bots},
	{"away", (*bench).notifications},
	{"echo", func(b *bench, ctx context.Context) error {
		return b.limit(limitEcho(ctx, b.duration, len(frameHead("u:"+im.NewID(), textBytes))+len("aaaaaaaa.10.1000.10000000")))
	}},
	{"http", func(b *bench, ctx context.Context) error { return b.limit(limitHTTP(ctx, b.duration)) }},
	{"kafka", (*bench).kafka},
	{"postgres", (*bench).postgresRows},
	{abuseStage, (*bench).abuse},
}

func stages() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// chat has one user of each pair write to the other.
func (b *bench) chat(ctx context.Context, window int, rate float64) error {
	users, err := b.crew.muster(ctx, 2*b.pairs)
	if err != nil {
		return err
	}
	l := &load{duration: b.duration, warmUp: b.warmUp, patience: b.patience, window: window, rate: rate, textBytes: textBytes}
	l.name = fmt.Sprintf("%d pairs, %d-byte texts, window %d", b.pairs, textBytes, window)
	if rate > 0 {
		l.name = fmt.Sprintf("%d pairs, %d-byte texts, paced at %.0f messages/s", b.pairs, textBytes, rate)
	}
	for i := range b.pairs {
		from, to := users[2*i], users[2*i+1]
		l.senders = append(l.senders, sendTo{from, "u:" + to.ID, []*user{to}})
	}
	return b.do(ctx, l)
}

// groupChat has a few members write to a group of which all are online.
func (b *bench) groupChat(ctx context.Context, window int, rate float64) error {
	users, err := b.crew.muster(ctx, b.group)
	if err != nil {
		return err
	}
	group, err := b.crew.group(ctx, b.group)
	if err != nil {
		return err
	}
	l := &load{duration: b.duration, warmUp: b.warmUp, patience: b.patience, window: window, delivered: true, rate: rate, textBytes: textBytes}
	l.name = fmt.Sprintf("a group of %d online, %d senders, window %d until delivered", b.group, groupSenders, window)
	if rate > 0 {
		l.name = fmt.Sprintf("a group of %d online, paced at %.0f messages/s", b.group, rate)
	}
	for i := range groupSenders {
		var hear []*user
		hear = append(append(hear, users[:i]...), users[i+1:]...)
		l.senders = append(l.senders, sendTo{users[i], string(group), hear})
	}
	return b.do(ctx, l)
}

func (b *bench) do(ctx context.Context, l *load) error {
	res, err := l.do(ctx, b.url, b.api, b.use, &b.found)
	if err != nil {
		return err
	}
	b.report.load(res)
	return nil
}

func (b *bench) limit(l *limit, err error) error {
	if err != nil {
		return err
	}
	b.report.limit(l)
	return nil
}

func (b *bench) kafka(ctx context.Context) error {
	if b.brokers == "" {
		b.report.add("limit: acknowledged Kafka produce", "not measured: set KAFKA_BROKERS")
		return nil
	}
	return b.limit(limitKafka(ctx, b.duration, b.brokers, b.use))
}

func (b *bench) postgresRows(ctx context.Context) error {
	if b.postgres == "" {
		b.report.add("limit: PostgreSQL batch insert", "not measured: set POSTGRES_URL")
		return nil
	}
	for _, rows := range []int{50, 500} {
		if err := b.limit(limitPostgres(ctx, b.duration, b.postgres, rows, b.use)); err != nil {
			return err
		}
	}
	return nil
}

// idleConnections measures what a connection costs that does nothing.
func (b *bench) idleConnections(ctx context.Context) error {
	users, err := b.crew.muster(ctx, b.idle)
	if err != nil {
		return err
	}
	before, err := b.memory(ctx)
	if err != nil {
		b.report.add(fmt.Sprintf("%d idle connections", b.idle), "not measured: "+err.Error())
		return nil
	}
	peers, err := connectAll(ctx, b.url, users)
	if err != nil {
		return err
	}
	var readers sync.WaitGroup
	for _, p := range peers {
		readers.Go(func() { p.listen(func(incoming) {}) })
	}
	defer func() {
		for _, p := range peers {
			p.close()
		}
		readers.Wait()
	}()
	if err := retry.Sleep(ctx, b.warmUp+3*time.Second); err != nil { // for what connecting them took to be given back
		return err
	}
	after, err := b.memory(ctx)
	if err != nil {
		return err
	}
	for _, p := range peers {
		select {
		case <-p.ended:
			return p.err
		default:
		}
	}
	cost := fmt.Sprintf("**%.1f KiB** resident each", kib(after.resident-before.resident, b.idle))
	if after.inUse > 0 {
		cost += fmt.Sprintf(", %.1f KiB of heap and stacks", kib(after.inUse-before.inUse, b.idle))
	}
	note := fmt.Sprintf("from %d to %d MiB", before.resident>>20, after.resident>>20)
	if before.resident > usedBefore {
		note += "; a process that has used memory gives that to connections first: take this figure from a gateway that was just started and runs by itself"
	}
	b.report.add(fmt.Sprintf("%d idle connections", b.idle), cost, "", "", "", note)
	return nil
}

func kib(bytes int64, n int) float64 { return float64(bytes) / 1024 / float64(n) }

// A memory is what the process with the connections uses, in bytes.
type memory struct {
	resident int64
	inUse    int64 // heap and stacks, if its metrics can be read
}

func (b *bench) memory(ctx context.Context) (m memory, err error) {
	if m.resident, err = b.use.resident(); err != nil || b.metrics == "" {
		return m, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.metrics, nil)
	if err != nil {
		return m, err
	}
	resp, err := b.api.HTTP.Do(req)
	if err != nil {
		return m, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		metric, value, _ := strings.Cut(lines.Text(), " ")
		if metric == "go_memstats_heap_inuse_bytes" || metric == "go_memstats_stack_inuse_bytes" {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return m, fmt.Errorf("reading metrics: %w", err)
			}
			m.inUse += int64(v)
		}
	}
	return m, lines.Err()
}
