package fn

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// refusalsOnly is of functions whose calls are no news when they succeed.
const refusalsOnly audit.Event = "refusals"

// RecordOf returns what the security log records of calls of f that succeed, ""
// if nothing, and whether it records anything of it.
func (f Func) RecordOf() (e audit.Event, any bool) {
	if f.Audit == refusalsOnly {
		return "", true
	}
	return f.Audit, f.Audit != ""
}

// record writes what became of an event to the security log, if it is of that.
func (s *server) record(ctx context.Context, caller im.Caller, e *event.Event, rep reply) {
	what, reason := s.auditOf(caller, e, classify(rep.err))
	if what == "" {
		return
	}
	rec := audit.Record{
		Event: what, Function: s.Name, Reason: reason, Address: s.from(e),
		User: caller.User, Session: caller.Session, Device: caller.Device, Platform: caller.Platform,
	}
	readTarget(&rec, e.Data)
	who, named := audit.Of(rep.err)
	if rep.err == nil {
		switch answer := rep.value.(type) {
		case audit.Named:
			who, named = answer.AuditedAs(), true
		case im.User: // who has registered
			who, named = im.Caller{User: answer.ID}, true
		}
		if e, ok := rep.value.(audit.Eventful); ok {
			rec.Event = e.AuditEvent()
		}
	}
	switch {
	case named && rec.User == "":
		rec.User, rec.Session = who.User, who.Session
	case named:
		rec.Target["user"] = who.User
	}
	s.audit.Record(ctx, rec)
}

// auditOf returns what is recorded of a call that ended with err, "" if nothing
// is, and why it failed.
func (s *server) auditOf(caller im.Caller, e *event.Event, err error) (what audit.Event, reason string) {
	success, about := s.RecordOf()
	if err == nil {
		if s.AuditWith.asks() && !s.AuditWith.Asked(e.Data) {
			return "", ""
		}
		return success, ""
	}
	kind := im.KindOf(err)
	var envelope errEnvelope
	switch signsIn := success == audit.LoginSuccess; {
	case errors.As(err, &envelope) && kind == im.Denied:
		return audit.AuthzFail, "seal"
	case errors.Is(err, audit.ErrTokenReused):
		return audit.TokenReuse, string(kind)
	case kind == im.Overloaded && (signsIn || success == audit.PasswordChange):
		return audit.LoginFailMax, string(kind)
	case kind == im.Overloaded && s.Public:
		return audit.RateLimit, string(kind)
	case kind == im.Unauthenticated && caller.User != "":
		return audit.SessionUse, string(kind)
	case kind != im.Unauthenticated && kind != im.SecondFactor && kind != im.Denied && kind != im.Reauthenticate:
		return "", "" // it was no attempt at what is not theirs
	case signsIn, success == audit.SessionRenewed:
		return audit.LoginFail, string(kind)
	case success == audit.PasswordChange:
		return audit.PasswordChangeFail, string(kind)
	case caller.User == "":
		return "", "" // who calls is not known, and it is not for that to be found out
	case about, caller.May(s.Scope) != nil:
		return audit.AuthzFail, string(kind)
	}
	return "", ""
}

// from returns where an event came from, if a gateway vouches for it.
func (s *server) from(e *event.Event) string {
	if s.ring == nil || !s.Public || s.ring.Verify(e) != nil {
		return ""
	}
	return e.Subject
}

// audited are the fields of calls that name what they are about, by an id.
var audited = []string{"user", "group", "bot", "token", "webhook", "session"}

// readTarget adds to a record what the data of a call says: what it is about, by
// its id, and by which device somebody signs in. What is not of that form is
// left out, for it can be anything.
func readTarget(rec *audit.Record, data json.RawMessage) {
	rec.Target = make(map[string]string)
	var fields map[string]json.RawMessage
	if unmarshal(data, &fields, false) != nil {
		return
	}
	text := func(name string) (s string) {
		if raw, ok := fields[name]; ok && unmarshal(raw, &s, false) != nil {
			return ""
		}
		return s
	}
	for _, name := range audited {
		if id := text(name); im.IsID(id) {
			rec.Target[name] = id
		}
	}
	var users []string
	if raw, ok := fields["users"]; ok && unmarshal(raw, &users, false) == nil && len(users) > 0 && im.IsID(users[0]) {
		rec.Target["user"] = users[0]
	}
	if rec.Device == "" && im.CheckDevice(text("device")) == nil {
		rec.Device = text("device")
	}
	if rec.Platform == "" && im.CheckPlatform(text("platform")) == nil {
		rec.Platform = text("platform")
	}
}
