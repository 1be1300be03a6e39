package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/event"
)

// topic takes what is published, or hangs, or fails.
type topic struct {
	mu    sync.Mutex
	taken []event.Event
	hangs chan struct{} // nil: it does not
	err   error
}

func (p *topic) Publish(_ context.Context, name string, events []event.Event) error {
	if p.hangs != nil {
		<-p.hangs
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && name == event.TopicAudit {
		p.taken = append(p.taken, events...)
	}
	return p.err
}

func newRecorder(to publisher) (*Recorder, *bytes.Buffer) {
	var log bytes.Buffer
	r := &Recorder{log: slog.New(slog.NewJSONHandler(&log, nil)), sample: newSampler(), metrics: newMetrics()}
	if to != nil {
		r.publish(to)
	}
	return r, &log
}

func TestARecordIsALineOfTheLogAndAnEvent(t *testing.T) {
	to := &topic{}
	r, log := newRecorder(to)
	rec := Record{Event: PermissionsChanged, Function: "group-role", User: "ann", Session: "s", Device: "d", Platform: "web", Address: "192.0.2.1", Target: map[string]string{"user": "bob", "group": "g"}}
	r.Record(t.Context(), rec)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["security"] != "privilege_permissions_changed" || line["user"] != "ann" || line["level"] != "INFO" || line["target"].(map[string]any)["group"] != "g" {
		t.Errorf("logged %s", log)
	}
	var sent Record
	if len(to.taken) != 1 || to.taken[0].Type != event.SecurityRecorded || to.taken[0].PartitionKey != "ann" || json.Unmarshal(to.taken[0].Data, &sent) != nil || sent.Target["user"] != "bob" {
		t.Errorf("published %+v", to.taken)
	}
	(*Recorder)(nil).Record(t.Context(), rec)
}

// Who floods the log has some lines of each minute, and does not keep others
// from theirs.
func TestP7NobodyFloodsTheSecurityLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := newRecorder(nil)
		for range 1000 {
			r.Record(t.Context(), Record{Event: LoginFail, Address: "192.0.2.1"})
			r.Record(t.Context(), Record{Event: EmailChange, User: "ann"})
		}
		r.Record(t.Context(), Record{Event: LoginFail, Address: "192.0.2.2"})
		if n := strings.Count(log.String(), "\n"); n != refused+perSource+1 {
			t.Errorf("%d lines", n)
		}
		time.Sleep(window)
		log.Reset()
		r.Record(t.Context(), Record{Event: LoginFail, Address: "192.0.2.1"})
		if !strings.Contains(log.String(), `"suppressed":990`) {
			t.Errorf("logged %s", log)
		}
		log.Reset()
		for i := range 100_000 {
			r.Record(t.Context(), Record{Event: LoginFail, Address: string(rune('a' + i))})
		}
		if n := strings.Count(log.String(), "\n"); n >= perProcess {
			t.Errorf("%d lines of many addresses", n)
		}
		if n := r.sample.sources.Len(); n > sources {
			t.Errorf("%d sources are kept", n)
		}
	})
}

// A Kafka that hangs or refuses holds up nobody and loses no line of the log.
func TestP7TheTopicOfTheSecurityLogHoldsNobodyUp(t *testing.T) {
	to := &topic{hangs: make(chan struct{})}
	r, log := newRecorder(to)
	const n = queueLen + batchLen + 50
	for i := range n {
		r.Record(t.Context(), Record{Event: UserCreated, User: string(rune('a' + i))})
	}
	if got := strings.Count(log.String(), "\n"); got != n {
		t.Errorf("%d lines of %d", got, n)
	}
	if dropped := testutil.ToFloat64(r.metrics.dropped.WithLabelValues("queue")); dropped < 50 || dropped > 50+batchLen {
		t.Errorf("%v were dropped", dropped)
	}
	to.err = errors.New("no leader")
	close(to.hangs)
	r.Close()
	if lost := testutil.ToFloat64(r.metrics.dropped.WithLabelValues("kafka")); lost < queueLen {
		t.Errorf("%v are counted as lost", lost)
	}
}
