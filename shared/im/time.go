package im

import (
	"fmt"
	"time"
)

// Time is a moment in microseconds since 1970-01-01 UTC: the resolution of
// PostgreSQL's timestamptz and of the order of a conversation. In JSON it is
// RFC 3339 in UTC with six digits of fraction, so that it also sorts as text.
type Time int64

const timeLayout = "2006-01-02T15:04:05.000000Z"

// TimeOf returns t cut to microseconds.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Now returns the present moment by this machine's clock.
func Now() Time { return TimeOf(time.Now()) }

// Std returns t as the standard library has it, in UTC.
func (t Time) Std() time.Time { return time.UnixMicro(int64(t)).UTC() }

func (t Time) String() string { return t.Std().Format(timeLayout) }

// AppendText appends t in RFC 3339.
func (t Time) AppendText(b []byte) ([]byte, error) { return t.Std().AppendFormat(b, timeLayout), nil }

// MarshalText writes t in RFC 3339.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// MarshalJSON writes t in RFC 3339.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(timeLayout)+2)
	b = append(b, '"')
	b = t.Std().AppendFormat(b, timeLayout)
	return append(b, '"'), nil
}

// UnmarshalText reads any RFC 3339 time; what is finer than a microsecond is cut.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return fmt.Errorf("%q is not a time as RFC 3339 writes it, such as 2026-01-31T12:00:00Z", b)
	}
	*t = TimeOf(v)
	return nil
}
