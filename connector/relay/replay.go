package relay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

// deadReplayed is the header of a mark: a record among the dead letters that
// says which of them, <partition>/<offset>, has been replayed. A mark lives as
// long as what it marks, since it is younger; committed offsets do not, and
// could not tell of one letter in the middle.
const deadReplayed = deadPrefix + "replayed"

const (
	// replayGroup has no members. Its offsets say before which all dead
	// letters have been replayed, so that those need not be read again.
	replayGroup = groupPrefix + "replay"

	// replayTries is how often an event is posted to a function that is down
	// or overloaded before the replay ends.
	replayTries = 5
)

// replayer hands dead letters to the functions they failed in.
type replayer struct {
	*Relay
	out      io.Writer
	function string // "" is any
	reason   string // a part of it, "" is any
	dryRun   bool
	limit    int // 0 is none

	marked    map[string]bool // <partition>/<offset> of those replayed before
	settled   map[int]int64   // partition → before which all are replayed
	unsettled map[int]bool    // partitions with a letter that is not
	sent      int
	replayed  int
	failed    int
	passed    int
}

const replayUsage = `connector replay posts dead letters again, to the function in which each failed, oldest
first. What succeeds is marked and not posted again; what fails stays where it is.

`

func replay(ctx context.Context, env *proc.Env, args []string, out io.Writer) error {
	p := &replayer{out: out, marked: make(map[string]bool), settled: make(map[int]int64), unsettled: make(map[int]bool)}
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&p.function, "function", "", "only what failed in this `function`")
	flags.StringVar(&p.reason, "reason", "", "only what failed for a reason that holds this `text`")
	flags.BoolVar(&p.dryRun, "dry-run", false, "only say what would be posted")
	flags.IntVar(&p.limit, "limit", 0, "post at most this `many`; 0 is all")
	flags.Usage = func() { fmt.Fprint(out, replayUsage); flags.PrintDefaults() }
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 || p.limit < 0 {
		flags.Usage()
		return errors.New("replay takes flags only, and no negative limit")
	}
	var err error
	if p.Relay, err = open(ctx, env); err != nil {
		return err
	}
	return p.run(ctx)
}

func (p *replayer) run(ctx context.Context) error {
	from, err := kafka.Committed(ctx, p.env, replayGroup, p.deadLetters)
	if err != nil {
		return err
	}
	err = kafka.Scan(ctx, p.env, p.deadLetters, from, func(rec kafka.Record) error {
		if at := rec.Header(deadReplayed); at != "" {
			p.marked[at] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = kafka.Scan(ctx, p.env, p.deadLetters, from, func(rec kafka.Record) error { return p.letter(ctx, rec) })
	if errors.Is(err, errLimit) {
		err = nil
	}
	verb := "replayed"
	if p.dryRun {
		verb = "would be replayed"
	}
	fmt.Fprintf(p.out, "%d %s, %d failed again, %d passed over\n", p.replayed, verb, p.failed, p.passed)
	if p.dryRun {
		return err
	}
	return errors.Join(err, kafka.Commit(ctx, p.env, replayGroup, p.deadLetters, p.settled))
}

var errLimit = errors.New("the limit is reached")

// letter deals with a record of the dead letters.
func (p *replayer) letter(ctx context.Context, rec kafka.Record) error {
	at := fmt.Sprintf("%d/%d", rec.Partition, rec.Offset)
	done := rec.Header(deadReplayed) != "" || p.marked[at]
	if !done {
		if p.limit > 0 && p.sent >= p.limit {
			return errLimit
		}
		var err error
		if done, err = p.post(ctx, at, rec); err != nil {
			return err
		}
	}
	if !done {
		p.unsettled[rec.Partition] = true
	}
	if !p.unsettled[rec.Partition] {
		p.settled[rec.Partition] = rec.Offset + 1
	}
	return nil
}

// post posts a dead letter if it is one of those asked for, and marks it. It
// reports whether it succeeded. An error ends the replay.
func (p *replayer) post(ctx context.Context, at string, rec kafka.Record) (bool, error) {
	function, reason := failedIn(&rec), rec.Header(deadReason)
	if p.function != "" && p.function != function || !strings.Contains(reason, p.reason) {
		p.passed++
		return false, nil
	}
	ev, err := rec.Event()
	if err != nil || function == "" {
		p.passed++
		fmt.Fprintf(p.out, "%s: cannot be replayed: %s\n", at, reason)
		return false, nil
	}
	p.sent++
	if p.dryRun {
		p.replayed++
		fmt.Fprintf(p.out, "%s: %s to %s, which failed: %s\n", at, ev.ID, function, reason)
		return false, nil
	}
	if err := p.deliver(ctx, function, ev); err != nil {
		if im.KindOf(err).Transient() {
			return false, fmt.Errorf("replaying %s to %s: %w", ev.ID, function, err)
		}
		p.failed++
		fmt.Fprintf(p.out, "%s: %s to %s failed again: %s\n", at, ev.ID, function, err)
		return false, nil
	}
	mark := kafka.Record{Key: rec.Key, Headers: []kafka.Header{
		{Key: deadReplayed, Value: []byte(at)},
		{Key: deadTime, Value: []byte(im.Now().String())},
	}}
	if err := p.producer.Write(ctx, p.deadLetters, []kafka.Record{mark})[0]; err != nil {
		return false, fmt.Errorf("marking %s as replayed: %w", at, err)
	}
	p.replayed++
	fmt.Fprintf(p.out, "%s: %s to %s\n", at, ev.ID, function)
	return true, nil
}

// deliver posts an event until the function has decided on it.
func (p *replayer) deliver(ctx context.Context, function string, ev event.Event) error {
	at := p.urls.Of(function)
	for try := 1; ; try++ {
		results, err := p.poster.Deliver(ctx, function, at, []event.Event{ev})
		var wait time.Duration
		if err == nil {
			wait = results[0].RetryAfter
			if err = results[0].Err(); err == nil {
				return nil
			}
			if final(results[0].Status) {
				return im.Wrap(im.Invalid, err, "refused with status %d", results[0].Status)
			}
		}
		err = im.Wrap(im.Unavailable, err, "not delivered")
		if try == replayTries || retry.Sleep(ctx, max(pauses.Full(try), min(wait, maxRetryAfter))) != nil {
			return err
		}
	}
}

var functionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// failedIn returns the function in which a dead letter failed, or "". Dead
// letters of Knative name the URL that was posted to, whose host begins with it
// (https://knative.dev/docs/eventing/event-delivery/).
func failedIn(rec *kafka.Record) string {
	name := rec.Header(deadFunction)
	if name == "" {
		if u, err := url.Parse(rec.Header("ce_knativeerrordest")); err == nil {
			name, _, _ = strings.Cut(u.Hostname(), ".")
		}
	}
	if !functionName.MatchString(name) {
		return ""
	}
	return name
}
