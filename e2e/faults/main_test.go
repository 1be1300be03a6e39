// Package faults holds tests that break parts of the system, and what it stands
// on, in the middle of traffic.
package faults

import (
	"os"
	"testing"

	"github.com/tidings-im/tidings/e2e/system"
)

func TestMain(m *testing.M) { os.Exit(system.Main(m)) }
