// Package abuse_test attacks systems and their parts: what hostile users do harms
// only themselves, and a process stays within its memory.
package abuse_test

import (
	"os"
	"testing"

	"github.com/tidings-im/tidings/e2e/system"
)

func TestMain(m *testing.M) { os.Exit(system.Main(m)) }
