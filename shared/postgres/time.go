package postgres

import (
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// Time returns the time of a column, 0 for NULL.
func Time(t *time.Time) im.Time {
	if t == nil {
		return 0
	}
	return im.TimeOf(*t)
}

// NullTime returns t as a column has it, NULL for 0.
func NullTime(t im.Time) *time.Time {
	if t == 0 {
		return nil
	}
	at := t.Std()
	return &at
}
