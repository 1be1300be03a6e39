// Package kafka writes events to Kafka and reads them back: a producer that
// commits in groups, a consumer that holds one bounded batch of each partition
// and commits what is done, and the topics of Tidings. It does not know what
// the events say or who handles them.
//
// Events are written in the binary mode of the Kafka protocol binding for
// CloudEvents 1.0: each attribute in a header ce_<name>, the data in the value,
// the partition key in the key.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

var settingBrokers = proc.Setting{Name: "KAFKA_BROKERS", Need: true, Doc: "addresses of Kafka brokers to start from, host:port, separated by commas"}

const (
	clientID = "tidings"

	// requestTimeout bounds each request to a broker. kafka-go tells the
	// broker half of what is left of it as the time it may wait for replicas.
	requestTimeout = 6 * time.Second

	dialTimeout = 3 * time.Second

	// refreshEvery is the least time between two looks at who leads what that
	// errors ask for.
	refreshEvery = 500 * time.Millisecond
)

// cluster is the process's way to the brokers. It connects when first used.
type cluster struct {
	brokers   []string
	client    *kafkago.Client
	transport *kafkago.Transport
	log       *slog.Logger
	fetches   *fetches

	mu        sync.Mutex
	refreshed time.Time
}

func openCluster(env *proc.Env) (*cluster, error) {
	env.Uses("kafka")
	set := env.Settings()
	brokers := set.List(settingBrokers)
	if err := set.Err(); err != nil {
		return nil, err
	}
	for _, b := range brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("setting %s: %q is not host:port", settingBrokers.Name, b)
		}
	}
	mechanism, err := openSASL(env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "kafka.cluster", func() (*cluster, func() error, error) {
		t := &kafkago.Transport{ClientID: clientID, DialTimeout: dialTimeout, SASL: mechanism}
		c := &cluster{
			brokers:   brokers,
			transport: t,
			client:    &kafkago.Client{Addr: kafkago.TCP(brokers...), Transport: t, Timeout: requestTimeout},
			log:       env.Log,
			fetches:   newFetches(),
		}
		return c, func() error { t.CloseIdleConnections(); return nil }, nil
	})
}

// refresh makes requests to come ask who leads what, on new connections. The
// transport of kafka-go looks only every few seconds of its own accord, and
// goes on using connections to a broker that has died until each has failed.
// Requests under way are not disturbed.
func (c *cluster) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.refreshed) >= refreshEvery {
		c.refreshed = time.Now()
		c.transport.CloseIdleConnections()
	}
}

// partitions returns how many partitions a topic has, as it was known at most
// a few seconds ago, or 0 if there is no such topic.
func (c *cluster) partitions(ctx context.Context, topic string) (int, error) {
	meta, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, t := range meta.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil && !errors.Is(t.Error, kafkago.UnknownTopicOrPartition) {
			return 0, t.Error
		}
		for _, p := range t.Partitions {
			n = max(n, p.ID+1)
		}
	}
	return n, nil
}

// unavailable gives err its kind, and says says to who called.
func unavailable(err error, says string) error {
	return &im.Error{Kind: im.Unavailable, Msg: says, Err: err, Dependency: "kafka"}
}

// awaitPartitions returns how many partitions a topic has, waiting for it to
// exist and for the brokers to be reached.
func (c *cluster) awaitPartitions(ctx context.Context, topic string) (int, error) {
	for attempt := 0; ; attempt++ {
		n, err := c.partitions(ctx, topic)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			err = fmt.Errorf("there is no topic %s", topic)
		}
		if attempt == 2 {
			c.log.WarnContext(ctx, "waiting for a topic", "topic", topic, "err", err)
		}
		c.refresh()
		if retry.Sleep(ctx, again.Equal(attempt+1)) != nil {
			return 0, unavailable(errors.Join(err, ctx.Err()), "the message log is not there: try again")
		}
	}
}

// offsets returns the offset of the first record that a partition still has
// and the one that the next record written will get.
func (c *cluster) offsets(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	res, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{
		topic: {kafkago.FirstOffsetOf(partition), kafkago.LastOffsetOf(partition)},
	}})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range res.Topics[topic] {
		if p.Partition == partition {
			return p.FirstOffset, p.LastOffset, p.Error
		}
	}
	return 0, 0, fmt.Errorf("no offsets of partition %d of %s in the answer", partition, topic)
}

// explain returns why no broker is known to lead a partition, if that is what
// err says: kafka-go then keeps to itself that it reaches none.
func (c *cluster) explain(ctx context.Context, err error) error {
	if errors.Is(err, protocol.ErrNoTopic) {
		if _, why := c.client.Metadata(ctx, &kafkago.MetadataRequest{}); why != nil {
			return why
		}
	}
	return err
}

// retriable reports whether the same request may succeed when it is sent
// again. Errors that are no answer of a broker are of the network or of what is
// known about the cluster: both may pass.
func retriable(err error) bool {
	var answer kafkago.Error
	if !errors.As(err, &answer) {
		return !errors.Is(err, protocol.ErrNoRecord)
	}
	switch answer {
	case kafkago.Unknown, kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable:
		return true
	}
	return answer.Temporary()
}

// again is how long to wait before the same is tried again.
var again = retry.Backoff{First: 25 * time.Millisecond, Limit: time.Second}
