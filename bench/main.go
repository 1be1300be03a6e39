// Bench drives a running Tidings and measures it: how much it delivers, how
// long that takes, what it costs, and beside it, in the same run, what this
// machine does at most of each thing that a message needs. It checks what it
// measured: nothing lost, doubled or out of order, in what was pushed and in
// what the inboxes hold; if something was, it says so and exits with status 1.
//
//	go run ./bench -url http://127.0.0.1:8080
//
// A server's limits are set for people, not for a load: start it with
// SEND_RATE, SEND_BURST, CALLS_PER_SECOND, CALLS_BURST, STRANGERS_ADDED_PER_HOUR,
// RECIPIENTS_PER_MINUTE, RECIPIENTS_BURST, GROUP_RECIPIENTS_PER_MINUTE, GROUP_RECIPIENTS_BURST,
// STRANGERS_FIRST_HOUR, STRANGERS_FIRST_DAY, SIGN_INS_PER_MINUTE, FILES_PER_HOUR,
// MESSAGE_SEARCHES_PER_MINUTE and BOT_LOGINS_PER_MINUTE at 1000000. What else a
// scenario needs it says where it goes without. But "abuse" is to be run against a
// server for people, with its CLIENT_ADDRESS_HEADER named by -address-header, and by
// itself; its large group is the one that "group" has made, with the same -state.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/client"
)

type options struct {
	url, pids, state, note, only string
	brokers, postgres, metrics   string
	away, awaySecret, addresses  string
	quick                        bool
	duration                     time.Duration
	pairs, group, idle           int
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:8080", "`URL` of the gateway")
	flag.StringVar(&o.only, "only", "", "run only what is named, of: "+strings.Join(stages(), ", "))
	flag.BoolVar(&o.quick, "quick", false, "a smoke test: 2 s each, fewer users")
	flag.DurationVar(&o.duration, "for", 15*time.Second, "how long each load is measured")
	flag.IntVar(&o.pairs, "pairs", 50, "pairs of users who chat")
	flag.IntVar(&o.group, "group", 1000, "members of the group, all online")
	flag.IntVar(&o.idle, "idle", 2000, "idle connections")
	flag.StringVar(&o.pids, "pid", "", "processes whose use of processors is shown, as `name=pid,…`, the gateway's first; found by the port of -url if left out")
	flag.StringVar(&o.state, "state", defaultState(), "`file` for the users that were made, which a second run uses again")
	flag.StringVar(&o.brokers, "brokers", "", "`addresses` of Kafka, to measure its limit; KAFKA_BROKERS if left out")
	flag.StringVar(&o.postgres, "postgres", "", "`URL` of PostgreSQL, to measure its limit; POSTGRES_URL if left out")
	flag.StringVar(&o.metrics, "metrics", "", "`URL` of the gateway's metrics, to read its heap")
	flag.StringVar(&o.away, "away", "", "`host:port` on which the benchmark takes what the server sends to its NOTIFY_WEBHOOK_URL; if that is signed by NOTIFY_WEBHOOK_SECRET, set it here, too, and the signature is checked")
	flag.StringVar(&o.addresses, "address-header", "", "`name` of the header in which the server is told where clients are, its CLIENT_ADDRESS_HEADER")
	flag.StringVar(&o.note, "note", "", "what to say about the system in the header")
	server := flag.Bool("serve", false, "be the server that the limits are measured against (the benchmark starts it itself)")
	flag.Parse()
	o.brokers = cmp.Or(o.brokers, os.Getenv("KAFKA_BROKERS"))
	o.postgres = cmp.Or(o.postgres, os.Getenv("POSTGRES_URL"))
	o.awaySecret = os.Getenv("NOTIFY_WEBHOOK_SECRET")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *server {
		err = serve()
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func defaultState() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "tidings-bench.json")
}

// bench is one run of the benchmark.
type bench struct {
	options
	warmUp   time.Duration
	patience time.Duration
	perCall  time.Duration // how long each call of the API is measured
	api      *client.API
	crew     *crew
	use      *usage
	found    findings
	told     *away // nil without -away
	report   report
	asked    report // of the API
	abused   report
}

func run(ctx context.Context, o options) error {
	if o.pairs < 1 || o.idle < 1 || o.group <= groupSenders || o.duration <= 0 {
		return fmt.Errorf("there is nothing to measure: -pairs, -idle and -for are positive, and -group is more than %d", groupSenders)
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	o.url = strings.TrimSuffix(o.url, "/")
	b := &bench{options: o, warmUp: 2 * time.Second, patience: 30 * time.Second, perCall: o.duration / 3, report: report{columns: loadColumns}, asked: report{columns: callColumns}, abused: report{columns: abuseColumns}}
	if o.quick {
		b.duration, b.warmUp, b.perCall = 2*time.Second, 500*time.Millisecond, 100*time.Millisecond
		b.group, b.idle = min(b.group, 100), min(b.idle, 200)
	}
	b.api = &client.API{URL: o.url, HTTP: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	if b.crew, err = openCrew(b.api, o.state); err != nil {
		return err
	}
	if b.use, err = openUsage(o.pids, o.url); err != nil {
		return err
	}
	if o.away != "" { // for the whole run: what is refused is tried again ever later
		if b.told, err = listenAway(o.away, o.awaySecret); err != nil {
			return err
		}
		defer b.told.close()
	}
	for _, s := range chosen {
		fmt.Fprintln(os.Stderr, s.name)
		if err = s.run(b, ctx); err != nil {
			break
		}
	}
	if len(b.report.rows)+len(b.asked.rows)+len(b.abused.rows) > 0 {
		header(os.Stdout, o.url, describeServices(context.WithoutCancel(ctx), o.brokers, o.postgres), o.note)
	}
	for _, table := range []report{b.report, b.asked, b.abused} {
		if len(table.rows) > 0 {
			table.print(os.Stdout)
			fmt.Println()
		}
	}
	return errors.Join(err, b.verdict())
}

// choose returns the scenarios that are named, separated by commas, or all that
// run beside others.
func choose(only string) ([]scenario, error) {
	var chosen []scenario
	if only == "" {
		for _, s := range scenarios {
			if s.name != abuseStage {
				chosen = append(chosen, s)
			}
		}
		return chosen, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q: choose of %s", name, strings.Join(stages(), ", "))
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// verdict returns what was found to be wrong.
func (b *bench) verdict() error {
	if b.found.n == 0 {
		return nil
	}
	return fmt.Errorf("%d VIOLATIONS of what the system promises, the first of them:\n  %s", b.found.n, strings.Join(b.found.first, "\n  "))
}
