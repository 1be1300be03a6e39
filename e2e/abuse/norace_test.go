//go:build !race

package abuse_test

// slowdown is how much longer everything takes than it would by itself.
const slowdown = 1
