package promql

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"sigs.k8s.io/yaml"
)

const observe = "../../../observe"

type rules struct {
	Groups []struct {
		Rules []struct{ Alert, Expr string }
	}
}

// read reads YAML, of which JSON is a part.
func read(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(observe, file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestTheDashboardIsUnderstood(t *testing.T) {
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	read(t, "grafana/dashboards/tidings.json", &board)
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked++
			// What Grafana puts in the place of its variables.
			expr := strings.NewReplacer("$__rate_interval", "1m", "$function", ".*").Replace(target.Expr)
			if _, err := parser.ParseExpr(expr); err != nil {
				t.Errorf("panel %q: %v\n%s", p.Title, err, target.Expr)
			}
		}
	}
	if asked < 40 {
		t.Errorf("the dashboard asks %d things", asked)
	}
}

// Four hours of a system, a sample each 15 s, in the notation of promtool's tests.
const (
	step = 15 * time.Second
	well = `
tidings_gateway_accept_seconds_count{job="gateway",instance="a"} 0+100x960
tidings_gateway_accept_seconds_bucket{job="gateway",instance="a",le="0.005"} 0+100x960
tidings_gateway_accept_seconds_bucket{job="gateway",instance="a",le="+Inf"} 0+100x960
tidings_gateway_deliver_seconds_bucket{job="gateway",instance="a",le="0.05"} 0+100x960
tidings_gateway_deliver_seconds_bucket{job="gateway",instance="a",le="+Inf"} 0+100x960
tidings_gateway_messages_refused_total{job="gateway",instance="a",kind="invalid"} 0+100x960
tidings_gateway_connections{job="gateway",instance="a"} 100+0x960
tidings_gateway_connections_limit{job="gateway",instance="a"} 50000+0x960
tidings_gateway_call_seconds_count{function="user-login",status="200"} 0+10x960
tidings_function_events_total{job="functions",instance="b",function="persist-inbox",status="200"} 0+100x960
tidings_function_events_total{job="functions",instance="b",function="user-login",status="429"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="outbox-relay",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="session-sweep",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="bot-sweep",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="mail-send",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="search-index",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="notify-retry",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="webhook-retry",status="200"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="file-sweep",status="200"} 0+0.025x960
tidings_function_events_total{job="functions",instance="b",function="archive-history",status="200"} 1x240 2x240 3x240 4x240
tidings_function_events_total{job="functions",instance="b",function="archive-history",status="503"} 1x480 2x480
tidings_function_events_total{job="functions",instance="b",function="inbox-trim",status="200"} _x600 1x360
tidings_connector_lag_records{job="connector",instance="c",function="persist-inbox",topic="t",partition="0"} 5+0x960
tidings_connector_retried_total{function="persist-inbox"} 7+0x960
tidings_connector_dead_total{function="persist-inbox"} 3+0x960
tidings_foreign_answers_total{function="persist-inbox"} 3+0x960
tidings_kafka_produce_overloaded_total 0+0x960
tidings_pushes_total{outcome="done",instance="b"} 0+100x960
tidings_pushes_total{outcome="gone",instance="b"} 0+100x960
tidings_mails_waiting_seconds 900+0x960
tidings_mails_total{outcome="sent"} 0+1x960
tidings_mails_total{outcome="failed"} 0+1x960
tidings_notifications_total{way="webhook",outcome="sent"} 0+10x960
tidings_notifications_total{way="webhook",outcome="failed"} 0+1x960
tidings_notifications_total{way="web_push",outcome="failed"} 0x940 1x10 2x10
tidings_notifications_overdue_seconds 1+0x960
tidings_webhook_attempts_total{outcome="failed"} 0x930 1x10 2x10 3x10
tidings_webhook_overdue_seconds 60+0x960
tidings_archive_behind_seconds 3600+0x960
tidings_outbox_age_seconds 0+0x960
tidings_outbox_aside_total 0+0x960
process_resident_memory_bytes{job="gateway",instance="a"} 100+0x960
tidings_memory_limit_bytes{job="gateway",instance="a"} 1000+0x960
up{job="gateway",instance="a"} 1+0x960
up{job="functions",instance="b"} 1+0x960
`
	ill = `
tidings_gateway_accept_seconds_count{job="gateway",instance="a"} 0+100x960
tidings_gateway_accept_seconds_bucket{job="gateway",instance="a",le="1"} 0+10x960
tidings_gateway_accept_seconds_bucket{job="gateway",instance="a",le="5"} 0+100x960
tidings_gateway_accept_seconds_bucket{job="gateway",instance="a",le="+Inf"} 0+100x960
tidings_gateway_deliver_seconds_bucket{job="gateway",instance="a",le="5"} 0+10x960
tidings_gateway_deliver_seconds_bucket{job="gateway",instance="a",le="30"} 0+100x960
tidings_gateway_deliver_seconds_bucket{job="gateway",instance="a",le="+Inf"} 0+100x960
tidings_gateway_messages_refused_total{job="gateway",instance="a",kind="unavailable"} 0+10x960
tidings_gateway_connections{job="gateway",instance="a"} 45000+0x960
tidings_gateway_connections_limit{job="gateway",instance="a"} 50000+0x960
tidings_gateway_call_seconds_count{function="user-login",status="200"} 0+10x960
tidings_gateway_call_seconds_count{function="user-login",status="503"} 0+10x960
tidings_function_events_total{job="functions",instance="b",function="persist-inbox",status="503"} 0+100x960
tidings_function_events_total{job="functions",instance="b",function="persist-inbox",status="429"} 0+100x960
tidings_function_events_total{job="functions",instance="b",function="user-login",status="429"} 0+100x960
tidings_function_events_total{job="functions",instance="b",function="outbox-relay",status="200"} 5+0x960
tidings_function_unavailable_total{dependency="redis",function="x"} 0+1x960
tidings_function_unavailable_total{dependency="postgresql",function="x"} 0+1x960
tidings_function_unavailable_total{dependency="mongodb",function="x"} 0+1x960
tidings_function_unavailable_total{dependency="kafka",function="x"} 0+1x960
tidings_function_events_total{job="functions",instance="b",function="file-sweep",status="200"} 7+0x960
tidings_function_events_total{job="functions",instance="b",function="archive-history",status="503"} _x940 1+0x20
tidings_function_unavailable_total{dependency="s3",function="x"} 0+1x960
tidings_function_unavailable_total{dependency="archive",function="x"} 0+1x960
tidings_mails_waiting_seconds 900+0x960
tidings_notifications_total{way="webhook",outcome="sent"} 3+0x960
tidings_notifications_total{way="webhook",outcome="failed"} 0x950 1x10
tidings_notifications_overdue_seconds 0+15x960
tidings_webhook_attempts_total{outcome="delivered"} 0+1x960
tidings_webhook_attempts_total{outcome="failed"} 0+2x960
tidings_webhook_overdue_seconds 0+15x960
tidings_archive_behind_seconds 90000+0x960
tidings_connector_lag_records{job="connector",instance="c",function="persist-inbox",topic="t",partition="0"} 5+100x960
tidings_connector_retried_total{function="persist-inbox"} 0+1x960
tidings_connector_dead_total{function="persist-inbox"} _x940 1+0x20
tidings_foreign_answers_total{function="persist-inbox"} 0+1x960
tidings_kafka_produce_overloaded_total 0+1x960
tidings_pushes_total{outcome="done",instance="b"} 0+100x960
tidings_pushes_total{outcome="circuit_open",instance="b"} 0+10x960
tidings_outbox_age_seconds 0+15x960
tidings_outbox_aside_total 0x950 1x10
process_resident_memory_bytes{job="gateway",instance="a"} 950+0x960
tidings_memory_limit_bytes{job="gateway",instance="a"} 1000+0x960
up{job="gateway",instance="a"} 0+0x960
up{job="functions",instance="b"} 0+0x960
`
)

func TestAlertsFireWhenTheyAreTo(t *testing.T) {
	for _, tt := range []struct {
		name, samples string
		fires         bool
	}{
		{"in a system that is well", well, false},
		{"in a system that is ill", ill, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for alert, v := range evaluate(t, tt.samples) {
				if len(v) > 0 != tt.fires {
					t.Errorf("%s: %v", alert, v)
				}
			}
		})
	}
}

// Of what an alert looks at in several ways, each is seen.
func TestAlertsSayWhatIsIll(t *testing.T) {
	for _, tt := range []struct{ alert, label, value, samples string }{
		{"TidingsTimerStopped", "function", "archive-history", `tidings_function_events_total{function="archive-history",status="200"} 5+0x960`},
		{"TidingsTimerStopped", "function", "inbox-trim", `tidings_function_events_total{function="inbox-trim",status="503"} 0+0.1x960
			tidings_function_events_total{function="inbox-trim",status="200"} 5+0x960`},
		{"TidingsTimerStopped", "function", "file-sweep", `tidings_function_events_total{function="file-sweep",status="200"} 5+0x960`},
		{"TidingsTimerStopped", "function", "search-index", `tidings_function_events_total{function="search-index",status="200"} 5+0x960`},
		{"TidingsTimerStopped", "function", "webhook-retry", ``}, // never called
		{"TidingsDeadLetters", "function", "webhook-deliver", `tidings_function_events_total{function="webhook-deliver",status="422"} _x940 1x20`},
		{"TidingsDeadLetters", "function", "notify-away", `tidings_function_events_total{function="notify-away",status="422"} 0+1x960`},
		{"TidingsFunctionOverloaded", "function", "notify-away", `tidings_function_events_total{function="notify-away",status="429"} 0+1x960`},
		{"TidingsSignInStorm", "function", "password-forgot", `tidings_function_events_total{function="password-forgot",status="429"} 0+100x960`},
		{"TidingsNotificationsFailing", "way", "web_push", `tidings_notifications_total{way="web_push",outcome="put_off"} 0+1x960
			tidings_notifications_total{way="web_push",outcome="sent"} 0+0.1x960`},
		{"TidingsArchiveFailing", "", "", `tidings_function_events_total{function="archive-history",status="503"} 0+0.004x960
			tidings_function_events_total{function="archive-history",status="200"} 9+0x960`},
	} {
		t.Run(tt.alert+" "+tt.value, func(t *testing.T) {
			for _, s := range evaluate(t, tt.samples)[tt.alert] {
				if tt.label == "" || s.Metric.Get(tt.label) == tt.value {
					return
				}
			}
			t.Error("it does not fire")
		})
	}
}

// evaluate returns what each alert finds in samples towards their end.
func evaluate(t *testing.T, samples string) map[string]promql.Vector {
	t.Helper()
	var file rules
	read(t, "alerts.yml", &file)
	data := load(t, samples)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	defer engine.Close()
	found := make(map[string]promql.Vector)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			q, err := engine.NewInstantQuery(t.Context(), data, nil, r.Expr, time.Unix(0, 0).Add(955*step))
			if err != nil {
				t.Errorf("%s: %v", r.Alert, err)
				continue
			}
			res := q.Exec(t.Context())
			v, err := res.Vector()
			if err != nil || len(res.Warnings) > 0 {
				t.Errorf("%s: %v, %v", r.Alert, err, res.Warnings)
			}
			found[r.Alert] = v
		}
	}
	return found
}

// store is series in memory.
type store []*storage.SeriesEntry

func load(t *testing.T, text string) store {
	t.Helper()
	var all store
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		lset, values, err := parser.ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{int64(i) * step.Milliseconds(), v.Value})
			}
		}
		all = append(all, storage.NewListSeries(lset, samples))
	}
	return all
}

type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

func (s store) Querier(int64, int64) (storage.Querier, error) { return s, nil }
func (s store) Close() error                                  { return nil }

func (s store) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &set{at: -1}
	for _, series := range s {
		matches := true
		for _, m := range matchers {
			matches = matches && m.Matches(series.Labels().Get(m.Name))
		}
		if matches {
			found.series = append(found.series, series)
		}
	}
	return found
}

func (s store) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (s store) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

type set struct {
	series store
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }
