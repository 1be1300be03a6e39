package imtest

import (
	"testing"

	"github.com/tidings-im/tidings/shared/imtest/freeport"
)

// FreePort returns a port of 127.0.0.1 at which nothing listens, and that no
// other test gets as long as this process runs.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
