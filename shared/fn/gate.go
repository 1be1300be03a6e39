package fn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/tidings-im/tidings/shared/im"
)

// A Gate stands before the functions that callers call: it knows which
// sessions have ended, how often a caller may call, and what was answered to a
// call that comes again.
type Gate interface {
	// Admit reports whether c may call now. Unauthenticated: the session has
	// ended. Overloaded: there were too many calls.
	Admit(ctx context.Context, c im.Caller) error

	// Begin returns the answer that is kept under key. If there is none it
	// returns nil, and key is taken until End, or until a request can last no
	// longer. Conflict: it is taken, or was used for something of another digest.
	Begin(ctx context.Context, key, digest string) (answer []byte, err error)

	// End keeps an answer under a key that Begin took; nil frees the key.
	End(ctx context.Context, key, digest string, answer []byte) error
}

// IdempotencyKey is the header that names a call, so that it has one effect
// and one answer however often it is sent
// (draft-ietf-httpapi-idempotency-key-header).
const IdempotencyKey = "Idempotency-Key"

const (
	maxKey  = 64        // bytes of an Idempotency-Key
	maxKept = 256 << 10 // bytes of an answer that is kept
)

// kept is an answer as a Gate keeps it.
type kept struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *im.Problem     `json:"error,omitempty"`
}

// once handles a call whose request may have an Idempotency-Key: what was
// answered to the key before is answered again. An answer that trying again
// could better is not kept.
//
// It is a convenience that does not have to be relied on: what Redis forgets is
// done again, and each function is such that a repeat does no harm.
func (s *server) once(ctx context.Context, r *http.Request, c call) reply {
	key := r.Header.Get(IdempotencyKey)
	if key == "" {
		return s.protected(ctx, []call{c})[0]
	}
	if !validKey(key) {
		return reply{err: im.Errorf(im.Invalid, "an %s is 1 to %d printable ASCII characters without spaces, new for each call and the same when you repeat it", IdempotencyKey, maxKey)}
	}
	name := s.Name + ":" + c.caller.User + ":" + key
	sum := sha256.Sum256(c.Data)
	digest := base64.RawURLEncoding.EncodeToString(sum[:12])
	c.key = key
	had, err := s.gate.Begin(ctx, name, digest)
	if err != nil && im.KindOf(err) != im.Unavailable { // a gate that does not answer holds nobody up
		return reply{err: err}
	}
	if had != nil {
		return replay(had)
	}
	rep := s.protected(ctx, []call{c})[0]
	if err == nil {
		if err := s.gate.End(context.WithoutCancel(ctx), name, digest, record(rep)); err != nil {
			s.env.Log.WarnContext(ctx, "an answer is not kept", "function", s.Name, "err", err)
		}
	}
	return rep
}

func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return len(key) <= maxKey
}

// record returns a reply as it is kept, or nil if it is not to be.
func record(rep reply) []byte {
	var k kept
	if rep.err != nil {
		if im.KindOf(classify(rep.err)).Transient() {
			return nil
		}
		p := im.ProblemOf(rep.err)
		k.Error = &p
	} else {
		value, err := json.Marshal(rep.value)
		if err != nil {
			return nil
		}
		k.Value = value
	}
	b, err := json.Marshal(k)
	if err != nil || len(b) > maxKept {
		return nil
	}
	return b
}

func replay(b []byte) reply {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return reply{err: im.Wrap(im.Internal, err, "the answer that was kept cannot be read")}
	}
	if k.Error != nil {
		return reply{err: &im.Error{Kind: k.Error.Kind, Msg: k.Error.Detail}}
	}
	return reply{value: k.Value}
}
