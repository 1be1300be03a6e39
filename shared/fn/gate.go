package fn

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// A Gate stands before the functions that callers call: it knows which
// sessions have ended, how often a caller may call, and what was answered to a
// call that comes again.
type Gate interface {
	// Admit counts so many calls of c. If it returns an error, only the first
	// admitted of them may be made. Unauthenticated: the session has ended.
	// Overloaded: there were too many.
	Admit(ctx context.Context, c im.Caller, calls int) (admitted int, err error)

	// Begin returns the answer that is kept under a key of c. If there is none
	// it returns nil, and the key is taken until End, or until the request of
	// ctx can last no longer. Conflict: it is taken, which is said with when to
	// come again, or was used for something of another digest.
	Begin(ctx context.Context, c im.Caller, key, digest string) (answer []byte, err error)

	// End keeps an answer under a key that Begin took; nil frees the key.
	End(ctx context.Context, c im.Caller, key, digest string, answer []byte) error
}

// IdempotencyKey is the header that names a call, so that it has one effect
// and one answer however often it is sent
// (draft-ietf-httpapi-idempotency-key-header).
const IdempotencyKey = "Idempotency-Key"

const (
	maxKey  = 64        // bytes of an Idempotency-Key
	maxKept = 128 << 10 // bytes of an answer that is kept
)

// called hands to the handler what the gate lets through of the calls of one
// caller, and returns a reply for each.
func (s *server) called(ctx context.Context, r *http.Request, calls []call) []reply {
	replies := make([]reply, len(calls))
	refuse := func(from int, err error) []reply {
		for i := from; i < len(replies); i++ {
			replies[i].err = err
		}
		return replies
	}
	admitted, err := s.gate.Admit(ctx, calls[0].caller, len(calls))
	if err == nil {
		admitted = len(calls)
	}
	key := r.Header.Get(IdempotencyKey)
	switch {
	case admitted == 0:
	case key == "":
		copy(replies, s.protected(ctx, calls[:admitted]))
	case !validKey(key):
		return refuse(0, im.Errorf(im.Invalid, "an %s is 1 to %d printable ASCII characters without spaces, new for each call and the same when you repeat it", IdempotencyKey, maxKey))
	case len(calls) > 1:
		return refuse(0, im.Errorf(im.Invalid, "an %s names one call, not %d", IdempotencyKey, len(calls)))
	default:
		replies[0] = s.once(ctx, key, calls[0])
	}
	return refuse(admitted, err)
}

// once handles a call that has a key: what was answered to the key before is
// answered again. An answer that trying again could better is not kept.
//
// It is a convenience that does not have to be relied on: what Redis forgets is
// done again, and each function is such that a repeat does no harm.
func (s *server) once(ctx context.Context, key string, c call) reply {
	c.key = key
	name := s.Name + ":" + key
	kept, digest, err := s.begin(ctx, c, name)
	if errors.Is(err, im.Conflict) {
		return reply{err: err}
	}
	if err != nil { // a gate that does not answer holds nobody up
		s.env.Log.WarnContext(ctx, "a call is not known if it comes again", "function", s.Name, "user", c.caller.User, "err", err)
		return s.protected(ctx, []call{c})[0]
	}
	if kept != nil {
		rep, err := replay(kept)
		if err == nil {
			return rep
		}
		s.env.Log.ErrorContext(ctx, "an answer that was kept cannot be read", "function", s.Name, "user", c.caller.User, "err", err)
	}
	rep := s.protected(ctx, []call{c})[0]
	if err := s.gate.End(context.WithoutCancel(ctx), c.caller, name, digest, record(rep)); err != nil {
		s.env.Log.WarnContext(ctx, "an answer is not kept", "function", s.Name, "user", c.caller.User, "err", err)
	}
	return rep
}

// begin begins a call under a name by the digest that it has, which is that of
// another key where seal keys were changed since the call came first.
func (s *server) begin(ctx context.Context, c call, name string) (kept []byte, digest string, err error) {
	for _, digest = range s.digests(name, c.Data) {
		kept, err = s.gate.Begin(ctx, c.caller, name, digest)
		if !errors.Is(err, im.Conflict) || retryAfter(err) > 0 {
			break
		}
	}
	return kept, digest, err
}

func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return len(key) <= maxKey
}

// digests returns by what a call is told from another under the same name, by
// each of the seal keys, the present one first. It takes a key to make one: what
// a request holds, be it a password, cannot be guessed at by what Redis holds.
func (s *server) digests(name string, data json.RawMessage) []string {
	return s.ring.Seals(&event.Event{ID: name, Type: "digest", Data: data})
}

// kept is an answer as a Gate keeps it.
type kept struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *im.Problem     `json:"error,omitempty"`
}

// ShownOnce is an answer that holds a secret, which is shown to who asked first
// and kept nowhere: the same call again is told that it was done.
type ShownOnce interface{ ShownOnce() }

var errShown = im.Errorf(im.Conflict, "this was done when it was asked for first; what it answered holds a secret, which is shown once")

// record returns a reply as it is kept, or nil if it is not to be.
func record(rep reply) []byte {
	var k kept
	var err error
	if _, secret := rep.value.(ShownOnce); rep.err == nil && secret {
		p := im.ProblemOf(errShown)
		k.Error = &p
	} else if rep.err == nil {
		k.Value, err = im.JSON(rep.value)
	} else {
		if im.KindOf(classify(rep.err)).Transient() {
			return nil
		}
		p := im.ProblemOf(rep.err)
		k.Error = &p
	}
	if err != nil {
		return nil
	}
	b, err := im.JSON(k)
	if err != nil || len(b) > maxKept {
		return nil
	}
	return b
}

func replay(b []byte) (reply, error) {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return reply{}, err
	}
	if k.Error != nil {
		return reply{err: &im.Error{Kind: k.Error.Kind, Msg: k.Error.Detail}}, nil
	}
	return reply{value: k.Value}, nil
}
