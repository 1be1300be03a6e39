// Package fn makes a deployable CloudEvents function of a Go function.
//
// A function is declared once, as a [Func]. [Main] makes a program of one;
// given several it makes one program of them all, which is how they run on a
// laptop and in tests. What a function does is written as a plain Go function
// of the data of events; [On], [Answer], [Call], [CallFrom], [CallAs] and [Timed] put it behind
// HTTP: single events in binary or structured mode, batches, and plain JSON,
// which is taken as the data of an event of the type the function accepts.
//
// It does not know which broker or platform sends the events.
package fn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/token"
)

// A Func declares a function.
type Func struct {
	// Name is its folder under functions, its image, its entry in stack.yml
	// and its Knative Service.
	Name string

	// Accepts is the type of the events it is sent. Plain JSON is taken as one.
	Accepts string

	// Also are further types of event it is sent.
	Also []string

	// Topic is the Kafka topic whose events trigger it; "" is triggered by HTTP only.
	Topic string

	// Every is how often a Timed function is to be called; 0 is not by a clock.
	Every time.Duration

	// Public functions may be reached from outside through the gateway.
	Public bool

	// Memory is how many bytes one call holds at most while it is made, its
	// answer included; 0 is as few as most calls do. A call that says so is heavy:
	// a process makes as many at a time as it has memory for, and few of one user.
	Memory int64

	// Proof is what it asks of its callers beyond an access token; the zero
	// Proof asks for nothing.
	Proof Proof

	// Scope is what a bot's token needs for it, if it is public: People if none is
	// enough.
	Scope im.Scope

	// Audit is what the security log records of calls that succeed; "" is of a
	// function of which it records nothing. AuditWith says of which calls, if not
	// of all.
	Audit     audit.Event
	AuditWith Proof

	// New makes its handler, opening what the handler needs. What it opens
	// belongs to the process and connects when first used, so that a
	// dependency that is down does not keep the process from starting.
	New func(context.Context, *proc.Env) (Handler, error)
}

// A Handler handles events. The zero Handler handles none.
type Handler struct {
	handle  func(context.Context, []call) []reply
	status  func(im.Kind) int
	sealed  bool                                     // takes sealed events only
	vouched bool                                     // wants to know who is vouched for by a seal
	anybody bool                                     // callers without a token pass, too
	open    func(*proc.Env) (*token.Verifier, error) // nil if callers need not be known
	verify  *token.Verifier
	gate    Gate                        // of callers
	timed   func(context.Context) error // takes no events
}

// call is one event, and who sent it.
type call struct {
	event.Event
	caller  im.Caller // as the access token of the request proves it
	address string    // as a gateway vouches for it
	key     string    // its Idempotency-Key
}

type reply struct {
	value any // nil if there is nothing to say
	err   error
}

// Each is what a handler of a batch returns when some of its events failed: an
// error for each event, in order, nil where it is done.
type Each []error

func (e Each) Error() string {
	var msgs []string
	for _, err := range e {
		if err != nil {
			msgs = append(msgs, err.Error())
		}
	}
	return fmt.Sprintf("%d of %d events failed: %s", len(msgs), len(e), strings.Join(msgs, "; "))
}

// Unwrap returns the errors.
func (e Each) Unwrap() []error { return e }

// Or returns e as an error, or nil if none of e is one.
func (e Each) Or() error {
	for _, err := range e {
		if err != nil {
			return e
		}
	}
	return nil
}

// On handles sealed events that nobody waits for, a batch at a time. They may
// come more than once, and in any order unless they have a key in common. If f
// fails, so does each event of the batch, unless the error is an [Each]. An
// event that failed with an error that trying again could mend comes again;
// with any other it goes to the dead letters. In may be event.Event, for
// handlers that need more than its data.
func On[In any](f func(context.Context, []In) error) Handler {
	return Handler{sealed: true, status: deliveryStatus, handle: func(ctx context.Context, calls []call) []reply {
		return decoded(calls, func(ins []In, replies []*reply) {
			err := f(ctx, ins)
			var each Each
			if errors.As(err, &each) && len(each) == len(ins) {
				for i, r := range replies {
					r.err = each[i]
				}
				return
			}
			for _, r := range replies {
				r.err = err
			}
		})
	}}
}

// A Reply answers one event.
type Reply[Out any] struct {
	Value Out
	Err   error
}

// Answer answers sealed events whose sender waits, a batch at a time: f
// returns a Reply for each, in order.
func Answer[In, Out any](f func(context.Context, []In) []Reply[Out]) Handler {
	return Handler{sealed: true, status: callStatus, handle: func(ctx context.Context, calls []call) []reply {
		return decoded(calls, func(ins []In, replies []*reply) {
			outs := f(ctx, ins)
			for i, r := range replies {
				if i >= len(outs) {
					r.err = fmt.Errorf("%d events were answered by %d replies", len(ins), len(outs))
				} else if outs[i].Err != nil {
					r.err = outs[i].Err
				} else {
					r.value = outs[i].Value
				}
			}
		})
	}}
}

// Call answers requests of anybody.
func Call[In, Out any](f func(context.Context, In) (Out, error)) Handler {
	return Handler{status: callStatus, handle: oneByOne(func(ctx context.Context, _ call, in In) (Out, error) {
		return f(ctx, in)
	})}
}

// CallFrom answers requests of anybody, and hands over the network address
// that they came from: the subject of the event, if a gateway sealed it. It is
// "" for who calls the function by another way.
func CallFrom[In, Out any](f func(ctx context.Context, address string, in In) (Out, error)) Handler {
	return Handler{status: callStatus, vouched: true, handle: oneByOne(func(ctx context.Context, c call, in In) (Out, error) {
		return f(ctx, c.address, in)
	})}
}

// CallAs answers requests of callers who prove by an access token who they
// are, and whom the gate admits.
func CallAs[In, Out any](gate Gate, f func(context.Context, im.Caller, In) (Out, error)) Handler {
	return Handler{status: callStatus, open: token.OpenVerifier, gate: gate, handle: oneByOne(func(ctx context.Context, c call, in In) (Out, error) {
		return f(withKey(ctx, c.key), c.caller, in)
	})}
}

// CallMaybe answers requests of anybody, and hands over the network address as
// CallFrom does. Who sends an access token with the request is known by it, as
// to CallAs; of who sends none the Caller is empty.
func CallMaybe[In, Out any](gate Gate, f func(ctx context.Context, address string, c im.Caller, in In) (Out, error)) Handler {
	return Handler{status: callStatus, vouched: true, anybody: true, open: token.OpenVerifier, gate: gate, handle: oneByOne(func(ctx context.Context, c call, in In) (Out, error) {
		return f(ctx, c.address, c.caller, in)
	})}
}

type keyOfContext struct{}

func withKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return context.WithValue(ctx, keyOfContext{}, key)
}

// KeyOf returns the Idempotency-Key of the call that ctx is of, or "": for what
// is made under a name that can be derived from the user and it, so that not
// even a gate that forgot makes it twice.
func KeyOf(ctx context.Context) string {
	key, _ := ctx.Value(keyOfContext{}).(string)
	return key
}

// Timed does a job when its time has come. Any POST says that it has: a ping
// event or nothing at all, with or without a body, from anybody. So f is such
// that it may be done at any time, twice at once, and be cut off at any step.
// In one process it runs once at a time. Requests that come while it runs have
// it run once more afterwards, however many they are: a run begins after each.
func Timed(f func(context.Context) error) Handler {
	return Handler{status: deliveryStatus, timed: f}
}

func oneByOne[In, Out any](f func(context.Context, call, In) (Out, error)) func(context.Context, []call) []reply {
	return func(ctx context.Context, calls []call) []reply {
		replies := make([]reply, len(calls))
		for i, c := range calls {
			in, err := decode[In](c.Event, true)
			if err == nil {
				replies[i].value, err = f(ctx, c, in)
			}
			replies[i].err = err
		}
		return replies
	}
}

// decoded hands what could be decoded of calls to f, with where to put the
// answers, and returns all answers.
func decoded[In any](calls []call, f func([]In, []*reply)) []reply {
	replies := make([]reply, len(calls))
	ins := make([]In, 0, len(calls))
	to := make([]*reply, 0, len(calls))
	for i := range calls {
		in, err := decode[In](calls[i].Event, false)
		if err != nil {
			replies[i].err = err
			continue
		}
		ins = append(ins, in)
		to = append(to, &replies[i])
	}
	if len(ins) > 0 {
		f(ins, to)
	}
	return replies
}

// decode reads the data of e. Fields that In does not have, or not in these
// letters, are refused if strict: a caller who misspells one is told so. Between our own parts they
// are not, so that a newer sender does not strand an older receiver.
func decode[In any](e event.Event, strict bool) (In, error) {
	var in In
	if raw, ok := any(&in).(*event.Event); ok {
		*raw = e
		return in, nil
	}
	data := e.Data
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	if !utf8.Valid(data) {
		return in, im.Errorf(im.Invalid, "cannot read the data: it is not UTF-8")
	}
	if err := unmarshal(data, &in, strict); err != nil {
		return in, &im.Error{Kind: im.Invalid, Msg: "cannot read the data: " + reason(err), Err: err}
	}
	return in, nil
}

func unmarshal(data []byte, to any, strict bool) error {
	return jsonv2.Unmarshal(data, to, jsonv2.RejectUnknownMembers(strict))
}

// reason returns what is wrong with the JSON of a caller, in words without Go's
// types.
func reason(err error) string {
	var syntax *jsontext.SyntacticError
	var value *jsonv2.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return fmt.Sprintf("the field %.80q is there twice", syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON, at byte %d", syntax.ByteOffset)
	case errors.Is(err, jsonv2.ErrUnknownName) && errors.As(err, &value):
		return fmt.Sprintf("unknown field %.80q", value.JSONPointer.LastToken())
	case !errors.As(err, &value):
		return "it makes no sense"
	case value.Err != nil && !errors.Is(value.Err, strconv.ErrRange) && !errors.Is(value.Err, strconv.ErrSyntax):
		return fmt.Sprintf("%s: %s", value.JSONPointer, value.Err) // of the type's own, such as im.Time
	}
	return fmt.Sprintf("%s is of another type, or out of range", cmp.Or(string(value.JSONPointer), "all of it"))
}
