package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// A door is the front door: the API of a gateway, as clients reach it.
type door struct {
	t   *testing.T
	url string
}

// openDoor runs all of Tidings in this process.
func openDoor(t *testing.T) *door {
	t.Helper()
	return &door{t, system.OneProcess(t, noop.NewTracerProvider().Tracer(""))}
}

// A visitor is somebody who is signed in.
type visitor struct {
	*door
	account
}

func (d *door) signUp(name string) visitor {
	d.t.Helper()
	nobody := visitor{door: d}
	nobody.must("POST", "/v1/users", request{"account": name, "password": rightPassword})
	return d.signIn(name, rightPassword, "d-"+name)
}

func (d *door) signIn(name, password, device string) visitor {
	d.t.Helper()
	v := visitor{door: d}
	body := v.must("POST", "/v1/sessions", request{"account": name, "password": password, "device": device, "platform": "web"})
	var got struct {
		User im.User `json:"user"`
		account
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		d.t.Fatal(err)
	}
	v.account = got.account
	v.account.User = got.User
	return v
}

// try makes a call and returns how it is answered. The body is sent as it is
// if it is a string, as JSON if it is anything else, and not if it is nil.
func (v visitor) try(method, path string, body any, header ...string) (status int, answer string) {
	v.t.Helper()
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			v.t.Fatal(err)
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, sent)
	if err != nil {
		v.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if v.Access != "" {
		req.Header.Set("Authorization", "Bearer "+v.Access)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, b := send(v.t, req)
	return resp.StatusCode, string(b)
}

// must makes a call that is to succeed.
func (v visitor) must(method, path string, body any) (answer string) {
	v.t.Helper()
	status, answer := v.try(method, path, body)
	if status != http.StatusOK {
		v.t.Fatalf("%s %s by %s: %d %s", method, path, v.Account, status, answer)
	}
	return answer
}

// refused makes a call that is to be answered by one of statuses.
func (v visitor) refused(what, method, path string, body any, statuses ...int) {
	v.t.Helper()
	status, answer := v.try(method, path, body)
	for _, s := range statuses {
		if s == status {
			return
		}
	}
	v.t.Errorf("%s: %s %s by %s is answered by %d %s", what, method, path, v.Account, status, answer)
}

// group makes a group and returns its id.
func (v visitor) group(policy string, members ...visitor) string {
	v.t.Helper()
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	var g im.GroupInfo
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/groups", request{"name": "Lunch", "policy": policy, "members": ids})), &g); err != nil {
		v.t.Fatal(err)
	}
	return g.ID
}

// inbox returns what is in a visitor's inbox.
func (v visitor) inbox() []im.Message {
	v.t.Helper()
	var page struct {
		Entries []struct{ Message im.Message }
	}
	if err := json.Unmarshal([]byte(v.must("GET", "/v1/inbox?after=0&limit=1000", nil)), &page); err != nil {
		v.t.Fatal(err)
	}
	messages := make([]im.Message, len(page.Entries))
	for i, e := range page.Entries {
		messages[i] = e.Message
	}
	return messages
}

// gets waits until a message that is as wanted is in the inbox, and returns it.
func (v visitor) gets(what string, wanted func(im.Message) bool) (m im.Message) {
	v.t.Helper()
	imtest.Eventually(v.t, v.Account+" gets "+what, func() error {
		all := v.inbox()
		for _, m = range all {
			if wanted(m) {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(all))
	})
	return m
}

// tell sends a message and waits until it is in the inbox of both.
func (v visitor) tell(to visitor, text string) im.Message {
	v.t.Helper()
	var sent struct{ ID string }
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/messages", request{"to": "u:" + to.ID, "text": text})), &sent); err != nil {
		v.t.Fatal(err)
	}
	is := func(m im.Message) bool { return m.ID == sent.ID }
	v.gets("what was sent", is)
	return to.gets("what was sent", is)
}

func notice(typ string) func(im.Message) bool {
	return func(m im.Message) bool {
		var data struct{ Type string }
		return m.Kind == im.KindNotice && json.Unmarshal(m.Data, &data) == nil && data.Type == typ
	}
}
