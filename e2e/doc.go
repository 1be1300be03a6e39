// Package e2e holds tests of the whole system, on real services, used through
// its front door and past it. Package faults breaks it on purpose.
package e2e
