package imtest

import (
	"os"
	"strings"
	"testing"
)

var sharedKafka = shared{kind: kafka}

// Kafka returns the brokers of a Kafka that tests share: each makes topics of
// its own, by Name.
func Kafka(t testing.TB) []string {
	t.Helper()
	if list := os.Getenv("TIDINGS_TEST_KAFKA_BROKERS"); list != "" {
		return strings.Split(list, ",")
	}
	broker, err := sharedKafka.start()
	if err != nil {
		t.Fatal(err)
	}
	return []string{broker}
}
