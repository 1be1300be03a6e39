package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/tidings-im/tidings/e2e/system"
)

func TestMain(m *testing.M) {
	// All calls of the API that tests make, by whatever client.
	calls := &recorder{next: http.DefaultTransport, calls: make(map[string]int)}
	http.DefaultTransport = calls
	if os.Getenv("TIDINGS_TEST_KAFKA_BROKERS") != "" { // systems that share it share topics: one after another
		if err := flag.Set("test.parallel", "1"); err != nil {
			panic(err)
		}
	}
	status := system.Main(m)
	for _, wrong := range calls.wrong {
		fmt.Fprintln(os.Stderr, "against the contract:", wrong)
		status = 1
	}
	os.Exit(status)
}
