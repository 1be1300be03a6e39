package functions

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
)

// What somebody who has stolen an access token would keep by each function, and
// whether it is asked for a proof: "asked" before the function is called, by a
// call as it stands here; "inside" by the function itself.
var lasting = map[string]struct{ data, how string }{
	"user-update":      {`{"email":"eve@example.org"}`, "asked"},
	"email-verify":     {`{}`, "inside"},
	"email-confirm":    {`{"code":"aaaa-aaaa"}`, "asked"},
	"oauth-start":      {`{}`, "inside"},
	"identity-delete":  {`{}`, "asked"},
	"totp-setup":       {`{}`, "inside"},
	"totp-delete":      {`{}`, "inside"},
	"password-change":  {`{}`, "inside"},
	"user-delete":      {`{}`, "inside"},
	"push-subscribe":   {`{"show_text":true}`, "inside"},
	"bot-create":       {`{}`, "asked"},
	"bot-token-create": {`{}`, "asked"},
	"webhook-create":   {`{}`, "asked"},
	"webhook-update":   {`{"url":"https://example.org"}`, "asked"},
	"group-role":       {`{"role":"owner"}`, "asked"},
}

// passing is what concerns an account and gives nothing that lasts: it only
// looks, ends or proves something, or goes on from what was asked for a proof.
var passing = []string{
	"user-register", "user-login", "user-logout", "token-refresh", "session-list", "session-revoke", "session-prove", "avatar-set",
	"password-forgot", "password-reset", "oauth-callback", "identity-list", "totp-confirm", "push-key", "push-unsubscribe",
	"bot-list", "bot-update", "bot-delete", "bot-token-list", "bot-token-delete", "bot-login", "webhook-list", "webhook-delete",
}

// ofBots is what bots do, too, who are asked for no proof.
var ofBots = []string{"group-role"}

func TestP6WhatWouldOutliveAStolenTokenAsksForAProof(t *testing.T) {
	for _, f := range All {
		want, lasts := lasting[f.Name]
		if f.Proof.Any() != lasts {
			t.Errorf("%s asks for a proof: %v", f.Name, f.Proof.Any())
		}
		if asked := f.Proof.Asked(json.RawMessage(want.data)); lasts && asked != (want.how == "asked") {
			t.Errorf("%s of %s is asked: %v, want %q", f.Name, want.data, asked, want.how)
		}
		if lasts && f.Scope != fn.People && !slices.Contains(ofBots, f.Name) {
			t.Errorf("%s asks for a proof, and bots have none: it is good for the scope %s", f.Name, f.Scope)
		}
		if f.Public && f.Scope == fn.People && !lasts && !slices.Contains(passing, f.Name) {
			t.Errorf("%s concerns an account: say what somebody keeps by it who has stolen an access token", f.Name)
		}
	}
}

func TestWhatIsHarmlessAsksForNoProof(t *testing.T) {
	for name, data := range map[string]string{
		"user-update": `{"name":"Ann"}`, "webhook-update": `{"enabled":false}`, "group-role": `{"role":"admin"}`,
	} {
		i := slices.IndexFunc(All, func(f fn.Func) bool { return f.Name == name })
		if All[i].Proof.Asked(json.RawMessage(data)) {
			t.Errorf("%s of %s asks for a proof", name, data)
		}
	}
}
