//go:build race

package abuse_test

// slowdown is how much longer everything takes with the race detector: "5-15x"
// (ThreadSanitizer's manual).
const slowdown = 10
