package kafka

import (
	"fmt"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// What one broker alone has acknowledged goes with it.
func TestP1TopicsOfSeveralCopiesAreAcknowledgedByTwo(t *testing.T) {
	for replication, want := range map[int]bool{-1: false, 1: false, 2: false, 3: true, 5: true} {
		t.Run(fmt.Sprintf("KAFKA_REPLICATION %d", replication), func(t *testing.T) {
			config := topicConfig("t", 8, replication, 1000, time.Hour)
			two := kafkago.ConfigEntry{ConfigName: "min.insync.replicas", ConfigValue: "2"}
			if got := slices.Contains(config.ConfigEntries, two); got != want || config.ReplicationFactor != replication {
				t.Errorf("made as %+v", config)
			}
		})
	}
}
