package api

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// A caller is known by an access token that was verified, or by nothing but
// where they are.
type caller struct {
	user     string // "" is a stranger
	address  string
	networks []string // of the address
}

// Limits are how many calls are under way at a time, from when their request is
// read until their answer is. An address may have many users.
type Limits struct {
	PerUser     int
	PerAddress  int // of users; of those without an access token, a quarter
	PerNetworks int // of an address of IPv6: how many times as many its wider networks have
}

// callers are the calls under way, and their answers.
type callers struct {
	limits  Limits
	answers *proc.Budget

	mu sync.Mutex
	of map[string]*has
}

// has is what a user, an address or its strangers have under way.
type has struct {
	calls int
	bytes int64
}

func newCallers(l Limits, answers *proc.Budget) *callers {
	return &callers{limits: l, answers: answers, of: make(map[string]*has)}
}

// A place is a key that calls are counted by.
type place struct {
	key   string
	calls int
	bytes int64
}

// places are those of c.
func (s *callers) places(c caller) []place {
	all := make([]place, 0, 4)
	if c.user != "" {
		all = append(all, place{"u:" + c.user, s.limits.PerUser, s.answers.Size() / 16})
	}
	kind, most := "a:", s.limits.PerAddress
	if c.user == "" {
		kind, most = "s:", max(most/4, 1)
	}
	bytes := s.answers.Size() / 4
	for i, n := range c.networks {
		if i == 1 {
			most, bytes = most*s.limits.PerNetworks, bytes*2
		}
		all = append(all, place{kind + n, most, bytes})
	}
	return all
}

// A visit is a call under way.
type visit struct {
	*callers
	places []place
	bytes  int64
}

// enter counts a call. Overloaded: its caller has too many under way.
func (s *callers) enter(c caller) (*visit, error) {
	v := &visit{callers: s, places: s.places(c)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range v.places {
		if h := s.of[p.key]; h != nil && h.calls >= p.calls {
			return nil, errMany
		}
	}
	for _, p := range v.places {
		h := s.of[p.key]
		if h == nil {
			h = new(has)
			s.of[p.key] = h
		}
		h.calls++
	}
	return v, nil
}

// hold counts so many bytes of an answer until the call leaves. Overloaded: that
// is too much, of its caller or of all.
func (v *visit) hold(n int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.places {
		if v.of[p.key].bytes+n > p.bytes {
			return errMany
		}
	}
	if !v.answers.TryTake(n) {
		return errBusy
	}
	for _, p := range v.places {
		v.of[p.key].bytes += n
	}
	v.bytes += n
	return nil
}

// leave ends a call.
func (v *visit) leave() {
	v.answers.Give(v.bytes)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.places {
		h := v.of[p.key]
		h.bytes -= v.bytes
		if h.calls--; h.calls == 0 {
			delete(v.of, p.key)
		}
	}
}

var errMany = &im.Error{Kind: im.Overloaded, Msg: "you have too many calls under way: read their answers, and come again", RetryAfter: time.Second}

// maxTokens is how many access tokens are remembered whose bearer is known.
const maxTokens = 10_000

// tokens knows the bearers of access tokens, so that a signature is verified
// once.
type tokens struct {
	verify func(token string) (im.Caller, time.Time, error)

	mu sync.Mutex
	of map[[sha256.Size]byte]bearer
}

type bearer struct {
	user  string
	until time.Time
}

func newTokens(verify func(string) (im.Caller, time.Time, error)) *tokens {
	return &tokens{verify: verify, of: make(map[[sha256.Size]byte]bearer)}
}

// user returns whose token a request bears. Unauthenticated: it is not good, or
// there is none.
func (t *tokens) user(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errNoToken
	}
	key := sha256.Sum256([]byte(token))
	t.mu.Lock()
	b, ok := t.of[key]
	t.mu.Unlock()
	if ok && time.Now().Before(b.until) {
		return b.user, nil
	}
	who, until, err := t.verify(token)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.of) >= maxTokens {
		for other := range t.of { // whichever
			delete(t.of, other)
			break
		}
	}
	t.of[key] = bearer{who.User, until}
	return who.User, nil
}

var errNoToken = im.Errorf(im.Unauthenticated, "an access token is needed: Authorization: Bearer <token>")

// who returns who sends r. Unauthenticated: op is not for those who have no
// token that is good.
func (a *api) who(r *http.Request, op *operation) (caller, error) {
	c := caller{address: origin.AddressOf(r, a.Forwarded)}
	c.networks = origin.Networks(c.address)
	if op == nil || r.Header.Get("Authorization") == "" && op.Security != nil {
		return c, nil
	}
	user, err := a.tokens.user(r)
	if err != nil && op.Security == nil {
		return c, err
	}
	c.user = user // of an operation that needs none, the function says what is wrong with a token
	return c, nil
}
