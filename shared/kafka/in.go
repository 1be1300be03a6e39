package kafka

import "github.com/tidings-im/tidings/shared/proc"

// In returns the process's producer, as Open does.
func In(o *proc.Opener) *Producer { return proc.Open(o, Open) }
