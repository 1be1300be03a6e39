package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingPartitions  = proc.Setting{Name: "KAFKA_PARTITIONS", Default: "8", Doc: "partitions of tidings.messages and tidings.deliveries where they are created: the most instances of a function that can work at a time"}
	settingReplication = proc.Setting{Name: "KAFKA_REPLICATION", Default: "-1", Doc: "copies of each partition where topics are created; -1 is the broker's default. Set it to 3: topics then have min.insync.replicas=2, and what is accepted survives the loss of a broker"}
	settingMessages    = proc.Setting{Name: "KAFKA_RETENTION_MESSAGES", Default: "168h", Doc: "how long tidings.messages keeps accepted messages where it is created: longer than the longest outage of what reads them"}
	settingDeliveries  = proc.Setting{Name: "KAFKA_RETENTION_DELIVERIES", Default: "24h", Doc: "how long tidings.deliveries keeps what is to be pushed where it is created"}
	settingDeadLetters = proc.Setting{Name: "KAFKA_RETENTION_DEADLETTERS", Default: "720h", Doc: "how long tidings.deadletters keeps what failed where it is created: the time to look into it and to replay. With KAFKA_RETENTION_MESSAGES it says what may be trimmed of inboxes, and when a message that was to carry a file cannot come any more"}
)

var (
	settingAudit          = proc.Setting{Name: "AUDIT_TOPIC", Default: "false", Doc: "whether records of the security log are written to the topic tidings.audit, beside the log of the process; who writes them needs KAFKA_BROKERS then"}
	settingAuditRetention = proc.Setting{Name: "KAFKA_RETENTION_AUDIT", Default: "2160h", Doc: "how long tidings.audit keeps records of the security log where it is created"}
)

// AuditOn reports whether records of the security log are written to TopicAudit.
func AuditOn(env *proc.Env) (bool, error) {
	set := env.Settings()
	on := set.Bool(settingAudit)
	return on, set.Err()
}

const (
	maxMessageBytes = 1 << 20

	// maxDeadLetterBytes leaves a dead letter room for why it is one.
	maxDeadLetterBytes = maxMessageBytes + 64<<10
)

// segment is how long Kafka, unless told otherwise (segment.ms), goes on writing
// to a file: it removes whole files, when the last record in them is too old.
const segment = 7 * 24 * time.Hour

// Replayable returns for how long after it was accepted a message can come again:
// it is in tidings.messages for a while, may become a dead letter at the end of
// that, and is replayed from there. It goes by the settings by which topics are
// created.
func Replayable(env *proc.Env) (time.Duration, error) {
	set := env.Settings()
	messages, deadLetters := set.Duration(settingMessages), set.Duration(settingDeadLetters)
	return messages + segment + deadLetters + segment, set.Err()
}

// EnsureTopics creates the topics of Tidings that do not exist. Those that do
// are left as they are. The error is of kind Unavailable if no broker answers.
func EnsureTopics(ctx context.Context, env *proc.Env) error {
	c, err := openCluster(env)
	if err != nil {
		return err
	}
	set := env.Settings()
	partitions, replication := set.Int(settingPartitions, 1), set.Int(settingReplication, -1)
	topics := []kafkago.TopicConfig{
		topicConfig(event.TopicMessages, partitions, replication, maxMessageBytes, set.Duration(settingMessages)),
		topicConfig(event.TopicDeliveries, partitions, replication, maxMessageBytes, set.Duration(settingDeliveries)),
		topicConfig(event.TopicDeadLetters, 1, replication, maxDeadLetterBytes, set.Duration(settingDeadLetters)),
		topicConfig(event.TopicAudit, 1, replication, maxMessageBytes, set.Duration(settingAuditRetention)),
	}
	if err := set.Err(); err != nil {
		return err
	}
	var missing []kafkago.TopicConfig
	for _, t := range topics {
		n, err := c.partitions(ctx, t.Topic)
		if err != nil {
			c.refresh()
			return im.Wrap(im.Unavailable, err, "looking for topic %s", t.Topic)
		}
		if n == 0 {
			missing = append(missing, t)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	res, err := c.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: missing})
	if err != nil {
		c.refresh()
		return im.Wrap(im.Unavailable, err, "creating topics")
	}
	c.refresh() // another process may have created them meanwhile
	var errs []error
	for topic, err := range res.Errors {
		if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("creating topic %s: %w", topic, err))
		}
	}
	return im.Wrap(im.Unavailable, errors.Join(errs...), "creating topics")
}

func topicConfig(name string, partitions, replication, maxBytes int, retention time.Duration) kafkago.TopicConfig {
	t := kafkago.TopicConfig{
		Topic: name, NumPartitions: partitions, ReplicationFactor: replication,
		ConfigEntries: []kafkago.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "delete"},
			{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(retention.Milliseconds(), 10)},
			{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(maxBytes)},
		},
	}
	if replication >= 3 {
		// With fewer an acknowledgement of all replicas in sync may be that of
		// the leader alone, and go with it.
		t.ConfigEntries = append(t.ConfigEntries, kafkago.ConfigEntry{ConfigName: "min.insync.replicas", ConfigValue: "2"})
	}
	return t
}
