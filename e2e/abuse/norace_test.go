//go:build !race

package abuse_test

const raced = false
