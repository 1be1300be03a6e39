package im

import (
	"errors"
	"fmt"
	"time"
)

// A Kind says what a caller can do about an error. It is the only part of an
// error that travels: each edge of the system maps kinds to its own codes.
//
// A Kind is itself an error, so errors.Is(err, im.NotFound) is how code asks.
type Kind string

// The kinds of error.
const (
	Internal        Kind = "internal"        // our fault; trying again may help
	Unavailable     Kind = "unavailable"     // a dependency's fault; trying again will help
	Overloaded      Kind = "overloaded"      // too much at once; trying again later will help
	Invalid         Kind = "invalid"         // the request can never succeed
	TooLarge        Kind = "too-large"       // the request can never succeed, for its size
	Unsupported     Kind = "unsupported"     // the encoding of the request is not known here
	Unauthenticated Kind = "unauthenticated" // who is calling could not be told
	SecondFactor    Kind = "second-factor"   // who is calling has to give a code of their second factor, too
	Reauthenticate  Kind = "reauthenticate"  // who is calling has to prove again that it is them, for they did so too long ago
	Denied          Kind = "denied"          // the caller may not do this
	NotFound        Kind = "not-found"       // what was named does not exist, or is not for the caller to see
	Conflict        Kind = "conflict"        // what was asked contradicts what is
)

func (k Kind) Error() string { return string(k) }

// Transient reports whether the same request may succeed later.
func (k Kind) Transient() bool {
	return k == Internal || k == Unavailable || k == Overloaded
}

// Error is an error whose kind and message may be shown to a client.
type Error struct {
	Kind       Kind
	Msg        string        // for people: what is wrong and what to do
	RetryAfter time.Duration // how long to wait before trying again; 0 is unsaid
	Err        error         // for the log; may be nil
	Dependency string        // that is to blame, such as "redis", for metrics; "" is unsaid
	Ordinary   bool          // though it is Unavailable nothing is wrong, and nobody needs to be warned
	MaxAge     time.Duration // with Reauthenticate: how long ago the proof may have been
}

// Errorf returns an Error with no cause beneath it.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Wrap gives err a kind and a message that may be shown. A nil err stays nil.
func Wrap(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: err}
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error        { return e.Err }
func (e *Error) Is(target error) bool { return target == error(e.Kind) }

// KindOf returns the kind of err: Internal if nobody gave it one.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

// DependencyOf returns the dependency that is to blame for err, or for the first
// of the errors joined in it that has one; or "".
func DependencyOf(err error) string {
	if e, ok := err.(*Error); ok && e.Dependency != "" {
		return e.Dependency
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return DependencyOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if d := DependencyOf(err); d != "" {
				return d
			}
		}
	}
	return ""
}

// Problem is an error as a client is told it, shaped by RFC 9457
// (application/problem+json).
type Problem struct {
	Kind   Kind   `json:"kind"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Status int    `json:"status,omitempty"`
	MaxAge int    `json:"max_age,omitempty"` // seconds; of a Reauthenticate
}

// ProblemOf returns what may be shown of err. The detail of an error that
// nobody wrote for clients is withheld.
func ProblemOf(err error) Problem {
	var e *Error
	if errors.As(err, &e) {
		return Problem{Kind: e.Kind, Title: title[e.Kind], Detail: e.Msg, MaxAge: int(e.MaxAge.Seconds())}
	}
	k := KindOf(err)
	return Problem{Kind: k, Title: title[k], Detail: "something went wrong on our side; try again"}
}

var title = map[Kind]string{
	Internal:        "Internal error",
	Unavailable:     "Temporarily unavailable",
	Overloaded:      "Too many requests",
	Invalid:         "Invalid request",
	TooLarge:        "Too large",
	Unsupported:     "Unsupported encoding",
	Unauthenticated: "Not signed in",
	SecondFactor:    "A code is needed",
	Reauthenticate:  "A new proof is needed",
	Denied:          "Not allowed",
	NotFound:        "Not found",
	Conflict:        "Conflict",
}
