package relay

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
)

// replaying is a site on a Kafka of its own, for replay reads the topic of dead
// letters that there is one of.
func replaying(t *testing.T) *site {
	s := siteOn(t, 1, imtest.Start(t, "kafka").URL)
	s.dead = event.TopicDeadLetters
	if err := kafka.EnsureTopics(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	return s
}

// replay runs the command and returns what it printed.
func (s *site) replay(args ...string) (string, error) {
	var out strings.Builder
	err := Command(append([]string{"replay"}, args...), &out)(s.t.Context(), imtest.Env(s.t, s.vars()))
	return out.String(), err
}

// replayed is replay that must succeed and end by saying so.
func (s *site) replayed(summary string, args ...string) {
	s.t.Helper()
	out, err := s.replay(args...)
	if err != nil || !strings.HasSuffix(out, summary+"\n") {
		s.t.Fatalf("replay %v: %v; want %q at the end of:\n%s", args, err, summary, out)
	}
}

// refusing makes the function refuse the events with these ids.
func refusing(ids ...string) func([]event.Event) error {
	return func(events []event.Event) error {
		each := make(fn.Each, len(events))
		for i, e := range events {
			if slices.Contains(ids, e.ID) {
				each[i] = im.Errorf(im.Invalid, "%s stinks", e.ID)
			}
		}
		return each.Or()
	}
}

func TestReplayPostsWhatFailedAndOnlyOnce(t *testing.T) {
	t.Parallel()
	s := replaying(t)
	s.fn.behave(refusing("k/1", "k/3", "k/5", "k/7"), nil)
	s.publish("k", 0, 8)
	_, stop := s.relay()
	imtest.Until(t, "all are done or dead", func() bool { return s.committed() == 8 })
	s.write(s.topic, kafka.Record{Value: []byte("no event")})
	imtest.Until(t, "what is no event is dead", func() bool { return s.committed() == 9 })
	stop()
	done := func(ids ...string) {
		t.Helper()
		got, total := s.fn.ids()
		if want := append([]string{"k/0", "k/2", "k/4", "k/6"}, ids...); !slices.Equal(got, want) || total != len(want) {
			t.Fatalf("%v are done, %d in all; want %v", got, total, want)
		}
	}

	asked := s.fn.asked()
	s.replayed("4 would be replayed, 0 failed again, 1 passed over", "--dry-run")
	if s.fn.asked() != asked {
		t.Error("a dry run has posted")
	}
	s.replayed("0 replayed, 4 failed again, 1 passed over")
	done()

	s.fn.behave(refusing("k/5"), nil)
	s.replayed("0 replayed, 0 failed again, 5 passed over", "--function", "another")
	s.replayed("1 replayed, 0 failed again, 4 passed over", "--reason", "k/3 stinks", "--function", s.fn.name)
	done("k/3")
	s.replayed("1 replayed, 0 failed again, 0 passed over", "--limit", "1")
	done("k/3", "k/1")
	s.replayed("1 replayed, 1 failed again, 1 passed over")
	done("k/3", "k/1", "k/7")
	s.replayed("0 replayed, 1 failed again, 1 passed over")

	s.fn.behave(nil, nil)
	s.replayed("1 replayed, 0 failed again, 1 passed over")
	done("k/3", "k/1", "k/7", "k/5")
	s.replayed("0 replayed, 0 failed again, 1 passed over")
	done("k/3", "k/1", "k/7", "k/5")

	from, err := kafka.Committed(t.Context(), s.env, replayGroup, s.dead)
	if err != nil || from[0] != 4 {
		t.Errorf("all before %d of the dead letters are replayed by what is committed, %v; want 4", from[0], err)
	}
}

func TestReplayStopsWhileAFunctionIsDown(t *testing.T) {
	t.Parallel()
	s := replaying(t)
	s.fn.behave(refusing("k/0", "k/1"), nil)
	s.publish("k", 0, 2)
	_, stop := s.relay()
	imtest.Until(t, "both are dead", func() bool { return s.committed() == 2 })
	stop()
	s.fn.behave(nil, status(http.StatusServiceUnavailable))
	out, err := s.replay()
	if err == nil || im.KindOf(err) != im.Unavailable || !strings.Contains(out, "0 replayed") {
		t.Errorf("got %v and\n%s", err, out)
	}
	s.fn.behave(nil, nil)
	s.replayed("2 replayed, 0 failed again, 0 passed over")
}

func TestReplayKnowsTheDeadLettersOfKnative(t *testing.T) {
	t.Parallel()
	s := replaying(t)
	e := s.event("k", 0)
	rec := kafka.RecordOf(&e)
	rec.Headers = append(rec.Headers,
		kafka.Header{Key: "ce_knativeerrordest", Value: []byte("http://" + s.fn.name + ".im.svc.cluster.local/")},
		kafka.Header{Key: "ce_knativeerrorcode", Value: []byte("422")})
	s.write(s.dead, rec)
	s.replayed("1 replayed, 0 failed again, 0 passed over")
	if s.fn.count() != 1 {
		t.Error("it has not been posted")
	}
}

func TestADeadLetterNamesItsFunction(t *testing.T) {
	for header, want := range map[string]string{
		"persist-inbox": "persist-inbox", "": "", "../x": "", "a.b": "", "A": "", "evil/": "",
	} {
		rec := kafka.Record{Headers: []kafka.Header{{Key: deadFunction, Value: []byte(header)}}}
		if got := failedIn(&rec); got != want {
			t.Errorf("%q names %q, want %q", header, got, want)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		says string
		fail bool
	}{
		{"help", []string{"help"}, "connector replay", false},
		{"help of replay", []string{"replay", "-h"}, "dry-run", false},
		{"a command that is none", []string{"restart"}, "usage", true},
		{"a flag that is none", []string{"replay", "--all"}, "dry-run", true},
		{"an argument too many", []string{"replay", "persist-inbox"}, "dry-run", true},
		{"a negative limit", []string{"replay", "--limit", "-1"}, "dry-run", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := Command(tt.args, &out)(t.Context(), imtest.Env(t, nil))
			if (err != nil) != tt.fail || !strings.Contains(out.String(), tt.says) {
				t.Errorf("got %v and\n%s", err, out.String())
			}
		})
	}
}
