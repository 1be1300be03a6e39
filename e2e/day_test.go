package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// A device is somebody's, connected by a socket, and what it was told.
type device struct {
	visitor
	client *client.Client

	mu   sync.Mutex
	told []client.Message
}

// on signs a device of somebody in and connects it, by the same session.
func (v visitor) on(name string) *device {
	v.t.Helper()
	platform := map[string]string{"phone": "ios", "desk": "desktop"}[name]
	body := v.must("POST", "/v1/sessions", request{"account": v.Account, "password": rightPassword, "device": name, "platform": platform})
	d := &device{visitor: visitor{door: v.door}}
	if err := json.Unmarshal([]byte(body), &d.account); err != nil {
		v.t.Fatal(err)
	}
	d.User = v.User
	c, err := client.Connect(v.t.Context(), client.Options{
		URL: v.url, Device: name, Platform: platform,
		Tokens: client.Tokens{User: d.User, AccessToken: d.Access, ExpiresAt: im.TimeOf(time.Now().Add(10 * time.Minute)), RefreshToken: d.Refresh},
		OnMessage: func(_ context.Context, _ *client.Client, m client.Message) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.told = append(d.told, m)
			return nil
		},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { c.Close() })
	d.client = c
	return d
}

// hears waits until a device was told of a message that is as wanted.
func (d *device) hears(what string, wanted func(im.Message) bool) (found im.Message) {
	d.t.Helper()
	imtest.Eventually(d.t, d.Account+" hears "+what, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, m := range d.told {
			if wanted(m.Message) {
				found = m.Message
				return nil
			}
		}
		return fmt.Errorf("only %d other messages", len(d.told))
	})
	return found
}

// deaf reports it if a device was told of something that it is not to know.
func (d *device) deaf(what string, unwanted func(im.Message) bool) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.told {
		if unwanted(m.Message) {
			d.t.Errorf("%s heard %s: %s %s", d.Account, what, m.Text, m.Data)
		}
	}
}

// once reports it if a device was told of anything twice, or not in the order
// of seq.
func (d *device) once() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, m := range d.told {
		if m.Seq != int64(i)+1 {
			d.t.Errorf("%s was told seq %d as the message number %d", d.Account, m.Seq, i+1)
		}
	}
}

func said(text string) func(im.Message) bool {
	return func(m im.Message) bool { return m.Text == text }
}

// about is a notice of a type that names a message.
func about(typ, message string) func(im.Message) bool {
	return func(m im.Message) bool {
		var data struct{ Message string }
		return notice(typ)(m) && json.Unmarshal(m.Data, &data) == nil && data.Message == message
	}
}

// unread returns what somebody's list of conversations says of one.
func (v visitor) unread(c im.Conversation) (n int, last im.Message) {
	v.t.Helper()
	var list struct {
		Conversations []struct {
			Conversation im.Conversation
			Last         im.Message
			Unread       int
		}
	}
	if err := json.Unmarshal([]byte(v.must("GET", "/v1/conversations", nil)), &list); err != nil {
		v.t.Fatal(err)
	}
	for _, l := range list.Conversations {
		if l.Conversation == c {
			return l.Unread, l.Last
		}
	}
	return -1, last
}

// TestADayOfAUser is one day in the lives of ann, who has two devices, and bob.
func TestADayOfAUser(t *testing.T) {
	t.Parallel()
	door := openDoor(t)
	ann, bob, eve := door.signUp("ann"), door.signUp("bob"), door.signUp("eve")
	phone, desk, his, hers := ann.on("phone"), ann.on("desk"), bob.on("phone"), eve.on("phone")
	c := im.Direct(ann.ID, bob.ID)
	path := "/v1/conversations/" + string(c)

	// They become friends: he asks, and it is on both her devices; she accepts.
	his.must("POST", "/v1/friends/requests", request{"user": ann.ID, "message": "It's me", "source": "search"})
	for _, d := range []*device{phone, desk, his} {
		d.hears("that they are asked", notice(im.FriendRequested))
	}
	phone.must("POST", "/v1/friends/requests/"+bob.ID+"/response", request{"accept": true})
	for _, d := range []*device{phone, desk, his} {
		d.hears("that they are friends", notice(im.FriendAccepted))
	}

	// They talk; what she said herself is not unread to her, on any device.
	m := desk.tell(bob, "Lunch?")
	phone.hears("what was said on the other device", said("Lunch?"))
	if n, last := bob.unread(c); n != 1 || last.ID != m.ID {
		t.Errorf("bob has %d unread, the last is %s", n, last.Text)
	}
	if n, _ := ann.unread(c); n != 0 {
		t.Errorf("ann has %d unread of her own", n)
	}
	his.must("PUT", path+"/read", request{"message": m.ID})
	for _, d := range []*device{phone, desk, his} {
		d.hears("that he has read it", about(im.MessageRead, m.ID))
	}
	if n, _ := bob.unread(c); n != 0 {
		t.Errorf("bob has %d unread of what he has read", n)
	}

	// He reacts, and answers with a mistake that he mends; she takes one back.
	his.must("PUT", path+"/messages/"+m.ID+"/reactions", request{"emoji": "👍", "on": true})
	desk.hears("his thumb", about(im.MessageReacted, m.ID))
	typo := bob.tell(ann, "At twelf")
	his.must("PATCH", path+"/messages/"+typo.ID, request{"text": "At twelve"})
	phone.hears("what he meant", about(im.MessageEdited, typo.ID))
	oops := ann.tell(bob, "I do not like your mother")
	phone.must("POST", path+"/messages/"+oops.ID+"/recall", nil)
	his.hears("that something was taken back", about(im.MessageRecalled, oops.ID))
	for _, v := range []visitor{ann, bob} { // a new device, as history and inbox tell it
		var h struct{ Messages []im.Message }
		if err := json.Unmarshal([]byte(v.must("GET", path+"/messages", nil)), &h); err != nil {
			t.Fatal(err)
		}
		for _, m := range append(h.Messages, v.inbox()...) {
			if m.Text == oops.Text || m.Text == typo.Text || m.ID == oops.ID && !m.Recalled {
				t.Errorf("%s is still shown %q", v.Account, m.Text)
			}
		}
	}

	// A group: bob brings eve, who is noisy, is muted, and is removed.
	var made im.GroupInfo
	if err := json.Unmarshal([]byte(phone.must("POST", "/v1/groups", request{"name": "Lunch", "policy": "open", "members": []string{bob.ID}})), &made); err != nil {
		t.Fatal(err)
	}
	group, g := "/v1/groups/"+made.ID, "g:"+made.ID
	his.hears("of the group", notice(im.GroupCreated))
	his.must("POST", group+"/members", request{"users": []string{eve.ID}})
	hers.hears("that she is in", notice(im.GroupJoined))
	hers.must("POST", "/v1/messages", request{"to": g, "text": "NOISE"})
	desk.hears("eve", said("NOISE"))
	hers.refused("a member mutes", "PUT", group+"/mute", request{"user": bob.ID, "until": "2099-01-01T00:00:00Z"}, http.StatusForbidden)
	phone.must("PUT", group+"/mute", request{"user": eve.ID, "until": "2099-01-01T00:00:00Z"})
	hers.refused("who is muted speaks", "POST", "/v1/messages", request{"to": g, "text": "MORE NOISE"}, http.StatusForbidden)
	phone.must("DELETE", group+"/members", request{"users": []string{eve.ID}})
	hers.hears("that she is out", notice(im.GroupRemoved))
	phone.must("POST", "/v1/messages", request{"to": g, "text": "At last"})
	his.hears("ann in the group", said("At last"))
	hers.refused("who was removed reads on", "GET", "/v1/conversations/"+g+"/messages", nil, http.StatusForbidden)

	// Eve writes to ann, is blocked, and learns nothing but that she is not heard.
	hers.must("POST", "/v1/messages", request{"to": "u:" + ann.ID, "text": "Let me in"})
	phone.hears("eve", said("Let me in"))
	phone.must("PUT", "/v1/blocks/"+eve.ID, request{"blocked": true})
	desk.hears("on the other device, that eve is blocked", notice(im.BlockChanged))
	hers.refused("who is blocked writes", "POST", "/v1/messages", request{"to": "u:" + ann.ID, "text": "Hello?"}, http.StatusForbidden)
	if answer := hers.must("POST", "/v1/friends/requests", request{"user": ann.ID}); answer != "{\"state\":\"pending\"}\n" {
		t.Errorf("who is blocked and asks is answered %s", answer)
	}

	// A device is lost: she signs it out from the other. Its socket closes for good.
	var sessions struct {
		Sessions []struct{ ID, Device string }
	}
	if err := json.Unmarshal([]byte(phone.must("GET", "/v1/sessions", nil)), &sessions); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions.Sessions {
		if s.Device == "desk" {
			phone.must("DELETE", "/v1/sessions/"+s.ID, nil)
		}
	}
	desk.stopped(frame.CloseRevoked)

	// Eve is deleted. What she said stays, and she cannot come back.
	hers.must("DELETE", "/v1/users/me", request{"password": rightPassword})
	hers.stopped(frame.CloseDeleted)
	hers.refused("who was deleted calls", "GET", "/v1/inbox?after=0", nil, http.StatusUnauthorized)
	phone.hears("what eve said", said("NOISE"))
	var gone struct{ Deleted bool }
	if err := json.Unmarshal([]byte(phone.must("GET", "/v1/users/"+eve.ID, nil)), &gone); err != nil || !gone.Deleted {
		t.Errorf("eve is %+v, %v", gone, err)
	}

	// The last words of the day come after all else, so nothing is on its way.
	his.must("DELETE", "/v1/friends/"+ann.ID, nil)
	his.hears("that it is over", notice(im.FriendDeleted))
	phone.hears("that it is over", notice(im.FriendDeleted))
	hers.deaf("what was said without her", said("At last"))
	hers.deaf("that she is blocked", notice(im.BlockChanged))
	phone.deaf("that eve asked", func(m im.Message) bool { return m.From == eve.ID && notice(im.FriendRequested)(m) })
	for _, d := range []*device{phone, desk, his, hers} {
		d.once()
	}
}

// stopped waits until the socket of a device has been closed for good, for a reason.
func (d *device) stopped(why frame.Close) {
	d.t.Helper()
	select {
	case <-d.client.Done():
	case <-time.After(imtest.Patience(d.t)):
		d.t.Fatalf("the socket of %s stays", d.Account)
	}
	// The gateway may find by itself that the session has ended, just before it
	// is told why.
	var end *client.StoppedError
	if err := d.client.Err(); !errors.As(err, &end) || end.Close != why && end.Close != frame.CloseSignedOut {
		d.t.Errorf("the socket of %s ended with %v, want %s", d.Account, err, why.Reason)
	}
}
