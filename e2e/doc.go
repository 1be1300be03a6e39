// Package e2e holds tests of the whole system as it runs in production: each
// part a process of its own, on real services, used through its front door by
// the Go client, and broken on purpose.
package e2e
