package fn

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingFresh = proc.Setting{Name: "FRESH_SIGN_IN", Default: "5m", Doc: "how long after signing in, or proving again who they are, callers may do what would outlive a stolen access token"}

// A Proof says when the callers of a function have to have proved lately who
// they are, by signing in or by session-prove. What would give somebody who has
// stolen an access token more than the time that it is good for declares one.
// (RFC 9470, OAuth 2.0 Step Up Authentication Challenge Protocol.)
type Proof struct {
	always bool
	with   []string
	to     string // the value that these are set to; "" is any
	inside bool
}

// Fresh asks for a proof at each call.
func Fresh() Proof { return Proof{always: true} }

// FreshWith asks for a proof at calls that set one of some fields of their
// data: to anything but null and false.
func FreshWith(fields ...string) Proof { return Proof{with: fields} }

// FreshTo asks for a proof at calls that set a field of their data to a value.
func FreshTo(field, value string) Proof { return Proof{with: []string{field}, to: value} }

// AskedInside says that the function asks itself, of those calls that it finds
// to need a proof: for the password, or by im.Caller.Fresh.
func AskedInside() Proof { return Proof{inside: true} }

// Asked reports whether somebody who has not proved lately who they are is
// refused before a call with this data is handled.
func (p Proof) Asked(data json.RawMessage) bool {
	if p.always || len(p.with) == 0 {
		return p.always
	}
	var fields map[string]json.RawMessage
	if unmarshal(data, &fields, false) != nil {
		return false // it is refused for what it is
	}
	return slices.ContainsFunc(p.with, func(f string) bool { return p.sets(fields[f]) })
}

// sets reports whether a field is set to what a proof is asked for.
func (p Proof) sets(field json.RawMessage) bool {
	switch string(field) {
	case "", "null", "false":
		return false
	}
	var value string // however it is written
	return p.to == "" || json.Unmarshal(field, &value) == nil && value == p.to
}

// Any reports whether any call at all is asked for a proof, here or inside.
func (p Proof) Any() bool { return p.asks() || p.inside }

func (p Proof) asks() bool { return p.always || len(p.with) > 0 }

// FreshFor returns for how long a proof is good, FRESH_SIGN_IN.
func FreshFor(env *proc.Env) (time.Duration, error) {
	set := env.Settings()
	d := set.Duration(settingFresh)
	return d, set.Err()
}

// proved reports whether a caller has proved lately who they are, if a call with
// this data asks for it. Bots, whose tokens have a scope, are not asked: what they
// sign in by is all that they have. Reauthenticate: they have not.
func (s *server) proved(c im.Caller, data json.RawMessage) error {
	if c.Scope != "" || !s.Proof.Asked(data) {
		return nil
	}
	return c.Fresh(time.Now(), s.fresh)
}
