package webhook

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// What its owner names is a conversation of the bot, so that nobody waits for
// what would never come.
func TestP6AWebhookNamesAConversationThatItsBotIsIn(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bob, _ := w.person("bob")
	bot := w.bot(ann, "echo")
	group, elsewhere := im.NewID(), im.NewID()
	for _, q := range []string{
		`INSERT INTO groups (id, name, owner_id, created) VALUES ('` + group + `', 'in', '` + ann + `', now()), ('` + elsewhere + `', 'out', '` + ann + `', now())`,
		`INSERT INTO group_members (group_id, user_id, role, joined, version) VALUES ('` + group + `', '` + bot + `', 'member', now(), 1)`,
	} {
		if _, err := w.sql.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	all := w.hook(as, bot, "https://example.org/", nil)
	for _, tt := range []struct {
		name   string
		c      im.Conversation
		status int
	}{
		{"a group that it is in", im.Group(group), http.StatusOK},
		{"with its owner", im.Direct(ann, bot), http.StatusOK},
		{"a group of its owner that it is not in", im.Group(elsewhere), http.StatusForbidden},
		{"a group that there is not", im.Group(im.NewID()), http.StatusForbidden},
		{"of its owner with somebody else", im.Direct(ann, bob), http.StatusForbidden},
		{"of others", im.Direct(bob, im.NewID()), http.StatusForbidden},
	} {
		if status, answer := w.post("webhook-create", as, fields{"bot": bot, "url": "https://example.org/", "events": []string{"message"}, "conversation": tt.c}); status != tt.status {
			t.Errorf("%s: made with %d %s", tt.name, status, answer)
		}
		if status, answer := w.post("webhook-update", as, fields{"webhook": all.Webhook.ID, "conversation": tt.c}); status != tt.status {
			t.Errorf("%s: changed with %d %s", tt.name, status, answer)
		}
	}
}

// A message that comes again together with what took it back, as Kafka brings
// both when a process died, is told to nobody.
func TestAMessageThatIsRecalledInTheSameBatchIsNotDelivered(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, nil)
	h := w.hook(as, bot, r.URL, nil)
	c := im.Group(im.NewID())
	oh, back, next := said(c, ann, "oh", ann, bot), said(c, ann, "", ann, bot), said(c, ann, "never mind", ann, bot)
	back.m.Kind, back.m.Data = im.KindNotice, json.RawMessage(`{"type":"message.recalled","message":"`+oh.m.ID+`"}`)
	w.appended(oh, back, next)
	if d := r.next(); d.message().Text != "never mind" {
		t.Errorf("told %s", d.body)
	}
	w.see(as, h.Webhook.ID, "empty", settled)
	r.none()
}
