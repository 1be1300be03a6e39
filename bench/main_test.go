package main

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// The limits start this program again to be their server; in a test that is
// the test's binary.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args[1:], "-serve") {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
