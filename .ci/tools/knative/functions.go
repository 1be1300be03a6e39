package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rickb777/date/period"
	"github.com/robfig/cron/v3"
	appsv1 "k8s.io/api/apps/v1"
	eventingduck "knative.dev/eventing/pkg/apis/duck/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

const localOnly = "networking.knative.dev/visibility"

// functions checks that there is a Service for each function and no other, and
// that what triggers a function is there.
func (c *checker) functions() {
	connector := named[appsv1.Deployment](c.objects, "connector") != nil
	known := make(map[string]fn.Func)
	for _, f := range functions.All {
		known[f.Name] = f
		s := named[servingv1.Service](c.objects, f.Name)
		if s == nil {
			c.wrong("no Service for the function %s", f.Name)
			continue
		}
		if local := s.Labels[localOnly] == "cluster-local"; local == f.Public {
			c.wrong("Service %s: cluster-local is %t, and the function is public: %t", f.Name, local, f.Public)
		}
		source := named[kafkaSource](c.objects, f.Name)
		switch {
		case (f.Topic == "" || connector) && source != nil:
			c.wrong("KafkaSource %s: the function has no topic, or the connector reads it", f.Name)
		case f.Topic != "" && !connector && source == nil:
			c.wrong("no KafkaSource for %s, which %s triggers", f.Name, f.Topic)
		case source != nil:
			if !slices.Equal(source.Spec.Topics, []string{f.Topic}) || source.Spec.Sink.Ref == nil || source.Spec.Sink.Ref.Name != f.Name {
				c.wrong("KafkaSource %s does not bring %s to it", f.Name, f.Topic)
			}
			if source.Spec.ConsumerGroup != "tidings."+f.Name { // as the connector names it, so that one goes on where the other was
				c.wrong("KafkaSource %s: its group is %s", f.Name, source.Spec.ConsumerGroup)
			}
			if source.Spec.InitialOffset != "earliest" {
				c.wrong("KafkaSource %s: what was accepted before it is there would be lost", f.Name)
			}
			if source.Spec.Ordering == nil || *source.Spec.Ordering != "ordered" {
				c.wrong("KafkaSource %s: unordered", f.Name)
			}
		}
		ping := named[sourcesv1.PingSource](c.objects, f.Name)
		switch {
		case f.Every == 0 && ping != nil:
			c.wrong("PingSource %s: the function is not timed", f.Name)
		case f.Every > 0 && ping == nil:
			c.wrong("no PingSource for %s, which is to be called every %s", f.Name, f.Every)
		case ping != nil:
			if ping.Spec.Sink.Ref == nil || ping.Spec.Sink.Ref.Name != f.Name {
				c.wrong("PingSource %s calls another function", f.Name)
			}
			if s, err := cron.ParseStandard(ping.Spec.Schedule); err != nil || longest(s) > f.Every {
				c.wrong("PingSource %s: %q is more seldom than every %s", f.Name, ping.Spec.Schedule, f.Every)
			}
		}
	}
	for _, o := range c.list {
		switch o.Object.(type) {
		case *servingv1.Service, *kafkaSource, *sourcesv1.PingSource:
			if known[o.GetName()].Name == "" {
				c.wrong("%s: there is no such function", o)
			}
		}
	}
	c.found = append(c.found, c.urls()...)
}

// longest returns the longest time between two calls of a day.
func longest(s cron.Schedule) time.Duration {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var most time.Duration
	for end := at.AddDate(0, 0, 1); at.Before(end); {
		next := s.Next(at)
		if next.IsZero() {
			return math.MaxInt64
		}
		most = max(most, next.Sub(at))
		at = next
	}
	return most
}

// urls checks that gateway and connector find functions where they are.
func (c *checker) urls() []string {
	env := c.env(nil)
	defer env.Close()
	urls, err := fn.OpenURLs(env)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, f := range functions.All {
		if got, want := strings.TrimSuffix(urls.Of(f.Name), "/"), fmt.Sprintf("http://%s.%s.svc.cluster.local", f.Name, namespace); got != want {
			found = append(found, fmt.Sprintf("FUNCTION_URL: %s is looked for at %s, and is at %s", f.Name, got, want))
		}
	}
	return found
}

// maxPoll is Kafka's max.poll.interval.ms.
const maxPoll = 300 * time.Second

// times checks that each waits for longer than what it waits for, and that a
// source gives up before Kafka gives up on it.
func (c *checker) times() {
	duration := func(setting string) time.Duration {
		d, err := time.ParseDuration(c.setting(setting))
		if err != nil {
			c.wrong("ConfigMap tidings: %s is no duration: %v", setting, err)
		}
		return d
	}
	function, gateway, connector := duration("FUNCTION_TIMEOUT"), duration("GATEWAY_CALL_TIMEOUT"), duration("CONNECTOR_TIMEOUT")
	if function >= gateway || function >= connector {
		c.wrong("a function gives up after %s, who calls it after %s (gateway) and %s (connector)", function, gateway, connector)
	}
	for _, s := range of[servingv1.Service](c.objects) {
		if s.Spec.Template.Spec.TimeoutSeconds == nil {
			c.wrong("Service %s has no timeoutSeconds", s.Name)
			continue
		}
		cut := time.Duration(*s.Spec.Template.Spec.TimeoutSeconds) * time.Second
		if max(gateway, connector) >= cut {
			c.wrong("Service %s: requests are cut off after %s, before who sent them gives up (%s)", s.Name, cut, max(gateway, connector))
		}
		if cut < proc.Grace { // it is also how long the pod may take to stop
			c.wrong("Service %s: its pods are killed after %s, and may need %s to stop", s.Name, cut, proc.Grace)
		}
	}
	for _, s := range of[kafkaSource](c.objects) {
		try, all, err := budget(s.Spec.Delivery)
		if err != nil {
			c.wrong("KafkaSource %s: %v", s.Name, err)
			continue
		}
		if try <= function {
			c.wrong("KafkaSource %s gives up after %s, the function after %s", s.Name, try, function)
		}
		if service := named[servingv1.Service](c.objects, s.Name); service != nil && service.Spec.Template.Spec.TimeoutSeconds != nil &&
			try >= time.Duration(*service.Spec.Template.Spec.TimeoutSeconds)*time.Second {
			c.wrong("KafkaSource %s waits for %s, and requests are cut off before", s.Name, try)
		}
		if all >= maxPoll {
			c.wrong("KafkaSource %s: its tries may take %s, and Kafka takes the partition away after %s", s.Name, all, maxPoll)
		}
	}
}

// budget returns how long one try and all tries of a delivery may take.
func budget(d *eventingduck.DeliverySpec) (try, all time.Duration, err error) {
	switch {
	case d == nil || d.Retry == nil || *d.Retry < 1:
		return 0, 0, fmt.Errorf("it never tries again")
	case d.DeadLetterSink == nil:
		return 0, 0, fmt.Errorf("what it gives up on is lost: there is no deadLetterSink")
	case d.BackoffDelay == nil || d.BackoffPolicy == nil || d.Timeout == nil:
		return 0, 0, fmt.Errorf("its times are the default's, which exceed what Kafka allows")
	}
	delay, err := iso8601(*d.BackoffDelay)
	if err != nil {
		return 0, 0, err
	}
	if try, err = iso8601(*d.Timeout); err != nil {
		return 0, 0, err
	}
	all = try
	for n := int32(1); n <= *d.Retry; n++ {
		wait := delay * time.Duration(n) // linear
		if *d.BackoffPolicy == eventingduck.BackoffPolicyExponential {
			wait = delay * time.Duration(math.Exp2(float64(n)))
		}
		all += wait + try
	}
	return try, all, nil
}

// iso8601 reads a duration as Knative does.
func iso8601(s string) (time.Duration, error) {
	p, err := period.Parse(s)
	if err != nil {
		return 0, err
	}
	d, _ := p.Duration()
	return d, nil
}

var documented = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`([^`]*)`)?")

// defaults returns the settings that docs/operations.md lists, which a test
// holds to the code, with their defaults.
func (c *checker) defaults() map[string]string {
	b, err := os.ReadFile(filepath.Join(c.top, "docs", "operations.md"))
	if err != nil {
		c.wrong("what settings there are: %v", err)
	}
	known := make(map[string]string)
	for _, m := range documented.FindAllStringSubmatch(string(b), -1) {
		known[m[1]] = m[2]
	}
	return known
}

// topics checks that Strimzi's topics are those that migrate makes.
func (c *checker) topics() {
	all := of[kafkaTopic](c.objects)
	if len(all) == 0 {
		return
	}
	defaults := c.defaults()
	value := func(setting string) string {
		if v := c.setting(setting); v != "" {
			return v
		}
		return defaults[setting]
	}
	want := map[string]struct{ partitions, retention string }{
		"tidings.messages":    {value("KAFKA_PARTITIONS"), value("KAFKA_RETENTION_MESSAGES")},
		"tidings.deliveries":  {value("KAFKA_PARTITIONS"), value("KAFKA_RETENTION_DELIVERIES")},
		"tidings.deadletters": {"1", value("KAFKA_RETENTION_DEADLETTERS")},
	}
	for _, t := range all {
		w, ok := want[t.Name]
		if !ok {
			c.wrong("KafkaTopic %s: there is no such topic", t.Name)
			continue
		}
		delete(want, t.Name)
		keep, err := time.ParseDuration(w.retention)
		if err != nil {
			c.wrong("the retention of %s: %v", t.Name, err)
		}
		if strconv.Itoa(t.Spec.Partitions) != w.partitions || fmt.Sprintf("%.0f", t.Spec.Config["retention.ms"]) != strconv.FormatInt(keep.Milliseconds(), 10) {
			c.wrong("KafkaTopic %s: migrate would give it %s partitions and keep its records for %s", t.Name, w.partitions, keep)
		}
		if t.Spec.Config["cleanup.policy"] != "delete" || t.Spec.Config["max.message.bytes"] == nil {
			c.wrong("KafkaTopic %s lacks a setting that migrate gives it", t.Name)
		}
		if least, ok := t.Spec.Config["min.insync.replicas"].(float64); t.Spec.Replicas > 2 && (!ok || int(least) != 2) {
			c.wrong("KafkaTopic %s: an acknowledgement is worth no more than one broker", t.Name)
		}
	}
	for name := range want {
		c.wrong("no KafkaTopic for %s", name)
	}
}
