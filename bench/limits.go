package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
)

// A limit is what this machine does at most of one thing that a message needs,
// beside which what the system does is to be read.
type limit struct {
	name    string
	per     string // what is counted
	seconds float64
	count   int64
	took    histogram
	spent   map[string]time.Duration
	note    string
}

const (
	echoConns   = 50
	echoWindow  = 32
	httpConns   = 32
	producers   = 64
	pgWriters   = 8
	benchTopic  = "tidings.bench"
	benchTable  = "tidings_bench"
	limitWarmUp = 500 * time.Millisecond
)

// serve is what the process does that the limits of sockets and HTTP are
// measured against: the same program, started again with -serve.
func serve() error {
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			typ, b, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(typ, b) != nil {
				return
			}
		}
	})
	mux.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		var in, out struct {
			ID   string `json:"id"`
			Text string `json:"text"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out.ID = in.ID
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() { // the parent's end of the pipe closes when it is gone
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(ln, mux)
}

// startServer starts serve in a process of its own.
func startServer(ctx context.Context) (addr string, pid int, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", 0, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, nil, fmt.Errorf("starting a server to compare with: %w", err)
	}
	stop = func() { in.Close(); cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", 0, nil, fmt.Errorf("starting a server to compare with: %w", err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, stop, nil
}

// timed counts what workers do in a time, after a warm-up. Each worker does one
// thing at a time until told to stop, and notes how long it took.
func timed(ctx context.Context, name, per string, workers int, d time.Duration, use *usage, work func(ctx context.Context, worker int, note func(n int64, took time.Duration)) error) (*limit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var on atomic.Bool
	var count atomic.Int64
	l := &limit{name: name, per: per}
	hists := make([]histogram, workers)
	errs := make(chan error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			errs <- work(ctx, w, func(n int64, took time.Duration) {
				if on.Load() {
					count.Add(n)
					hists[w].add(took)
				}
			})
		})
	}
	err := pause(ctx, min(limitWarmUp, d), errs)
	if err == nil {
		before, began := use.read(), time.Now()
		on.Store(true)
		err = pause(ctx, d, errs)
		on.Store(false)
		l.seconds, l.spent = time.Since(began).Seconds(), use.since(before)
	}
	cancel()
	all.Wait()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l.count = count.Load()
	for i := range hists {
		l.took.merge(&hists[i])
	}
	return l, nil
}

// counted does a thing n times, by some workers at once, and counts how long
// each took.
func counted(ctx context.Context, n, workers int, use *usage, do func(ctx context.Context, i int) error) (*limit, error) {
	l := &limit{count: int64(n)}
	var mu sync.Mutex
	before, began := use.read(), time.Now()
	err := each(ctx, n, workers, func(ctx context.Context, i int) error {
		start := time.Now()
		err := do(ctx, i)
		mu.Lock()
		defer mu.Unlock()
		l.took.add(time.Since(start))
		return err
	})
	l.seconds, l.spent = time.Since(began).Seconds(), use.since(before)
	return l, err
}

// limitEcho is a WebSocket server that does nothing but answer.
func limitEcho(ctx context.Context, d time.Duration, frameBytes int) (*limit, error) {
	addr, pid, stop, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	use := &usage{roots: []root{{"echo", pid}}}
	payload := bytes.Repeat([]byte("x"), frameBytes)
	name := fmt.Sprintf("plain WebSocket echo, %d connections, window %d, %d bytes", echoConns, echoWindow, frameBytes)
	return timed(ctx, name, "echoes", echoConns, d, use, func(ctx context.Context, _ int, note func(int64, time.Duration)) error {
		var conn *lazyConn
		dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			conn = &lazyConn{Conn: c}
			return conn, err
		}}
		ws, _, err := dialer.DialContext(ctx, "ws://"+addr+"/echo", nil)
		if err != nil {
			return err
		}
		defer ws.Close()
		defer context.AfterFunc(ctx, func() { ws.Close() })()
		var sent [echoWindow]time.Time
		for i := range sent {
			sent[i] = time.Now()
			ws.WriteMessage(websocket.TextMessage, payload)
		}
		buf := make([]byte, len(payload))
		for i := 0; ; i = (i + 1) % echoWindow {
			_, r, err := ws.NextReader()
			if err == nil {
				_, err = io.ReadFull(r, buf)
			}
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			now := time.Now()
			note(1, now.Sub(sent[i]))
			sent[i] = now
			ws.WriteMessage(websocket.TextMessage, payload)
		}
	})
}

// limitHTTP is an HTTP server that reads and writes a little JSON.
func limitHTTP(ctx context.Context, d time.Duration) (*limit, error) {
	addr, pid, stop, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	use := &usage{roots: []root{{"http", pid}}}
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: httpConns}}
	defer hc.CloseIdleConnections()
	body := []byte(`{"id":"0123456789abcdef","text":"` + strings.Repeat("x", 100) + `"}`)
	return timed(ctx, fmt.Sprintf("plain HTTP POST, %d callers, keep-alive, JSON of %d bytes", httpConns, len(body)), "requests", httpConns, d, use, func(ctx context.Context, _ int, note func(int64, time.Duration)) error {
		for ctx.Err() == nil {
			start := time.Now()
			req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/call", bytes.NewReader(body))
			if err != nil {
				return err
			}
			resp, err := hc.Do(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d: %w", resp.StatusCode, err)
			}
			note(1, time.Since(start))
		}
		return nil
	})
}

// limitKafka writes events of the size of a message by the producer that the
// functions use, to a topic of its own.
func limitKafka(ctx context.Context, d time.Duration, brokers string, use *usage) (*limit, error) {
	admin := &kafkago.Client{Addr: kafkago.TCP(strings.Split(brokers, ",")...), Timeout: 10 * time.Second}
	made, err := admin.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: benchTopic, NumPartitions: 8, ReplicationFactor: -1,
		ConfigEntries: []kafkago.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "600000"}},
	}}})
	if err == nil {
		err = made.Errors[benchTopic]
	}
	if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return nil, fmt.Errorf("making the topic %s: %w", benchTopic, err)
	}
	defer admin.DeleteTopics(context.WithoutCancel(ctx), &kafkago.DeleteTopicsRequest{Topics: []string{benchTopic}})

	env := proc.NewEnv(func(k string) string {
		if k == "KAFKA_BROKERS" {
			return brokers
		}
		return os.Getenv(k)
	}, slog.New(slog.DiscardHandler))
	defer env.Close()
	producer, err := kafka.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return timed(ctx, fmt.Sprintf("acknowledged Kafka produce, %d callers, one event each", producers), "events", producers, d, use, func(ctx context.Context, w int, note func(int64, time.Duration)) error {
		m := im.Message{ID: im.NewMessageID(im.Now()), Conversation: im.Direct(im.NewID(), im.NewID()), Time: im.Now(), From: im.NewID(), ClientID: im.NewID(), Kind: im.KindText, Text: strings.Repeat("x", 100)}
		for ctx.Err() == nil {
			e, err := event.New(event.MessageAccepted, "bench", string(m.Conversation), event.Accepted{Message: m, Recipients: m.Recipients()})
			if err != nil {
				return err
			}
			start := time.Now()
			if err := producer.Publish(context.WithoutCancel(ctx), benchTopic, []event.Event{e}); err != nil {
				return err
			}
			note(1, time.Since(start))
		}
		return nil
	})
}

// limitPostgres inserts rows of the size of an inbox entry, some at a time.
func limitPostgres(ctx context.Context, d time.Duration, url string, rows int, use *usage) (*limit, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading POSTGRES_URL: %w", err)
	}
	cfg.MaxConns = pgWriters
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer pool.Close()
	_, err = pool.Exec(ctx, `DROP TABLE IF EXISTS `+benchTable+`; CREATE TABLE `+benchTable+` (user_id text NOT NULL, seq bigint NOT NULL, message_id uuid NOT NULL, message jsonb NOT NULL, PRIMARY KEY (user_id, seq))`)
	if err != nil {
		return nil, fmt.Errorf("making the table %s: %w", benchTable, err)
	}
	defer pool.Exec(context.WithoutCancel(ctx), `DROP TABLE `+benchTable)
	var sync string
	if err := pool.QueryRow(ctx, `SELECT 'PostgreSQL '||current_setting('server_version')||', synchronous_commit '||current_setting('synchronous_commit')||', fsync '||current_setting('fsync')`).Scan(&sync); err != nil {
		return nil, err
	}
	message := `{"id":"019b7d5f-1c2e-7e66-8000-000000000001","text":"` + strings.Repeat("x", 200) + `"}`
	l, err := timed(ctx, fmt.Sprintf("PostgreSQL batch insert, unnest of %d rows, %d connections", rows, pgWriters), "rows", pgWriters, d, use, func(ctx context.Context, w int, note func(int64, time.Duration)) error {
		user := im.NewID()
		seqs, users, ids, messages := make([]int64, rows), slices.Repeat([]string{user}, rows), make([]string, rows), slices.Repeat([]string{message}, rows)
		for next := int64(1); ctx.Err() == nil; next += int64(rows) {
			for i := range rows {
				seqs[i] = next + int64(i)
				ids[i] = im.NewMessageID(im.Now())
			}
			start := time.Now()
			_, err := pool.Exec(context.WithoutCancel(ctx), `INSERT INTO `+benchTable+` SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::jsonb[])`, users, seqs, ids, messages)
			if err != nil {
				return err
			}
			note(int64(rows), time.Since(start))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.note = sync
	return l, nil
}

// describeServices says what the services are, as far as they can be reached.
func describeServices(ctx context.Context, brokers, postgresURL string) []string {
	var all []string
	if brokers != "" {
		c := &kafkago.Client{Addr: kafkago.TCP(strings.Split(brokers, ",")...), Timeout: 5 * time.Second}
		m, err := c.Metadata(ctx, &kafkago.MetadataRequest{})
		switch {
		case err != nil:
			all = append(all, "Kafka: "+err.Error())
		default:
			all = append(all, fmt.Sprintf("Kafka: cluster %q of %d brokers", m.ClusterID, len(m.Brokers)))
		}
	}
	if postgresURL != "" {
		db, err := pgx.Connect(ctx, postgresURL)
		if err != nil {
			return append(all, "PostgreSQL: "+err.Error())
		}
		defer db.Close(ctx)
		var version string
		if err := db.QueryRow(ctx, `SELECT current_setting('server_version')`).Scan(&version); err == nil {
			all = append(all, "PostgreSQL "+version)
		}
	}
	return all
}
