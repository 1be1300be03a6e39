package proc

import (
	"fmt"
	"runtime/debug"
)

// Protect calls f and makes an error of a panic. It is for goroutines that work
// on what comes from outside: a panic of one would end the process, and with it
// all that it does for others. The error has the stack, for the log.
func Protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
