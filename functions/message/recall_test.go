package message

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const window = 2 * time.Minute

func TestRecall(t *testing.T) {
	direct, blocked, group := im.Direct(ann, bob), im.Direct(ann, cleo), im.Group(staff)
	notice := said(group, ann, 0)
	notice.Kind, notice.Text, notice.Data = im.KindNotice, "", json.RawMessage(`{"type":"group.updated"}`)
	recalled := said(direct, ann, 10*window)
	recalled.Text, recalled.Recalled, recalled.Revision = "", true, 1
	for _, tt := range []struct {
		name string
		m    im.Message
		by   string
		to   im.Conversation // "" is that of the message
		same bool            // nothing changes
		want error
	}{
		{name: "the sender, at once", m: said(direct, ann, 0), by: ann},
		{name: "the sender, within the window", m: said(direct, ann, window-time.Second), by: ann},
		{name: "the sender, after the window", m: said(direct, ann, window+time.Second), by: ann, want: im.Denied},
		{name: "the sender, with whom there is a block", m: said(blocked, ann, 0), by: ann},
		{name: "the other of the two", m: said(direct, ann, 0), by: bob, want: im.Denied},
		{name: "a third one", m: said(direct, ann, 0), by: eve, want: im.Denied},
		{name: "the sender in a group, being muted", m: said(group, dave, 0), by: dave},
		{name: "the owner of the group, long after", m: said(group, cleo, 1000*window), by: ann},
		{name: "an admin of the group, long after", m: said(group, ann, 1000*window), by: bob},
		{name: "an admin their own, long after", m: said(group, bob, 1000*window), by: bob},
		{name: "a member another's", m: said(group, ann, 0), by: cleo, want: im.Denied},
		{name: "a member their own, after the window", m: said(group, cleo, window+time.Second), by: cleo, want: im.Denied},
		{name: "the sender, who has left the group", m: said(group, eve, 0), by: eve, want: im.Denied},
		{name: "of a group that there is not", m: said(im.Group(gone), ann, 0), by: ann, want: im.Denied},
		{name: "of another conversation", m: said(im.Group(gone), bob, 1000*window), by: ann, to: group, want: im.NotFound},
		{name: "again, after the window", m: recalled, by: ann, same: true},
		{name: "again, by who may not", m: recalled, by: bob, want: im.Denied},
		{name: "a notice", m: notice, by: ann, want: im.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.ReplyTo = im.NewMessageID(1)
			b := newBook(tt.m)
			b.reactions[tt.m.ID] = []string{bob + "👍"}
			in := target{tt.m.Conversation, tt.m.ID}
			if tt.to != "" {
				in.Conversation = tt.to
			}
			_, err := recall(b.change, window)(t.Context(), im.Caller{User: tt.by}, in)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			got := b.messages[tt.m.ID]
			if tt.want != nil || tt.same {
				if len(b.notices) > 0 || got.Revision != tt.m.Revision || got.Text != tt.m.Text {
					t.Errorf("changed to %+v, told %+v", got, b.notices)
				}
				return
			}
			if !got.Recalled || got.Text != "" || got.Data != nil || got.Revision != 1 || len(b.reactions[got.ID]) > 0 {
				t.Errorf("left is %+v with %v", got, b.reactions)
			}
			if got.From != tt.m.From || got.ClientID != tt.m.ClientID || got.Kind != im.KindText || got.ReplyTo != tt.m.ReplyTo {
				t.Errorf("recalled %+v is not what was said by whom any more: %+v", tt.m, got)
			}
			n, data := told(t, b, im.MessageRecalled)
			if n.From != tt.by || n.Conversation != tt.m.Conversation || n.To != nil || data["message"] != got.ID || len(data) != 1 {
				t.Errorf("told %+v %s", n, n.Data)
			}
			if len(n.Amended) != 1 || n.Amended[0].ID != got.ID || n.Amended[0].Revision != 1 || !n.Amended[0].Recalled || n.Amended[0].Text != "" {
				t.Errorf("inboxes are to hold %+v", n.Amended)
			}
		})
	}
}

func TestWhatNamesNoMessageIsInvalid(t *testing.T) {
	at := target{im.Direct(ann, bob), im.NewMessageID(im.Now())}
	on := true
	for name, in := range map[string]target{
		"no conversation":            {"", at.Message},
		"a conversation of nobody":   {"g:x", at.Message},
		"no message":                 {at.Conversation, ""},
		"a number":                   {at.Conversation, "7"},
		"the id of something else":   {at.Conversation, "019b7d5f-1c2e-4e66-8000-000000000001"},
		"an id of no time":           {at.Conversation, "019b7d5f-1c2e-7fff-8000-000000000001"},
		"what would end a statement": {at.Conversation, "'; DROP TABLE messages; --"},
		"a long one":                 {at.Conversation, strings.Repeat("0", 1<<20)},
	} {
		b := newBook()
		by := im.Caller{User: ann}
		ctx := t.Context()
		_, err1 := recall(b.change, window)(ctx, by, in)
		_, err2 := edit(b.change, im.DirectOpen, window)(ctx, by, editRequest{in, "x"})
		_, err3 := react(b.change, im.DirectOpen)(ctx, by, reactRequest{in, "👍", &on})
		_, err4 := (&remover{b.change, b}).call(ctx, by, deleteRequest{in.Conversation, []string{in.Message}})
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, im.Invalid) || b.looks > 0 {
				t.Errorf("%s: %d: %v, after %d transactions", name, i, err, b.looks)
			}
			if len(err.Error()) > 300 {
				t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
			}
		}
	}
}

// A message that was accepted and is not in history yet is waited for, and one
// that there never was is not.
func TestAMessageThatIsOnItsWay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ago   time.Duration // that it was accepted
		comes time.Duration // after that long; 0 is never
		by    string
		want  error
		least time.Duration
		most  time.Duration
	}{
		{name: "comes at once", comes: firstLook, by: ann, least: firstLook, most: firstLook},
		{name: "comes late", comes: patience, by: ann, least: patience, most: patience},
		{name: "does not come for a while", by: ann, want: im.Unavailable, least: patience, most: patience},
		{name: "is a little ahead of this clock", ago: -time.Second, by: ann, want: im.Unavailable, least: patience, most: patience},
		{name: "would have come long ago", ago: onItsWay + time.Second, by: ann, want: im.NotFound},
		{name: "is of a time to come", ago: -onItsWay - time.Second, by: ann, want: im.NotFound},
		{name: "would not be for the caller", by: eve, want: im.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m := said(im.Direct(ann, bob), ann, tt.ago)
				b := newBook()
				b.arrive = func(int) {
					if tt.comes > 0 && time.Since(start) >= tt.comes {
						b.messages[m.ID] = m
					}
				}
				_, err := recall(b.change, window)(t.Context(), im.Caller{User: tt.by}, target{m.Conversation, m.ID})
				if took := time.Since(start); !errors.Is(err, tt.want) || took < tt.least || took > tt.most {
					t.Errorf("%v after %s, want %v after %s to %s", err, took, tt.want, tt.least, tt.most)
				}
				if b.looks > 10 {
					t.Errorf("it took %d transactions", b.looks)
				}
				if tt.want == im.Unavailable && !strings.Contains(im.ProblemOf(err).Detail, "on its way: try again") {
					t.Errorf("told %q", im.ProblemOf(err).Detail)
				}
			})
		})
	}
	t.Run("does not hold up who has gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := said(im.Direct(ann, bob), ann, 0)
			ctx, cancel := context.WithTimeout(t.Context(), 3*firstLook/2)
			defer cancel()
			start := time.Now()
			_, err := recall(newBook().change, window)(ctx, im.Caller{User: ann}, target{m.Conversation, m.ID})
			if !errors.Is(err, im.Unavailable) || time.Since(start) > 2*firstLook {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		})
	})
}

// Who makes up ids of messages has one call held up at a time, and no other user
// has any.
func TestP7OneCallOfAUserWaitsForAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		took := make(chan time.Duration)
		for range 10 {
			go func() {
				_, err := recall(newBook().change, window)(t.Context(), im.Caller{User: ann}, target{im.Direct(ann, bob), im.NewMessageID(im.Now())})
				var e *im.Error
				if !errors.As(err, &e) || e.Kind != im.Unavailable || !e.Ordinary || e.RetryAfter == 0 {
					t.Errorf("error %v", err)
				}
				took <- time.Since(start)
			}()
		}
		waited := 0
		for range 10 {
			if <-took > 0 {
				waited++
			}
		}
		if waited != 1 {
			t.Errorf("%d calls waited", waited)
		}
	})
}

func TestAChangeThatFailsIsNotTold(t *testing.T) {
	down := im.Errorf(im.Unavailable, "down")
	m := said(im.Direct(ann, bob), ann, 0)
	b := newBook(m)
	b.err = down
	if _, err := recall(b.change, window)(t.Context(), im.Caller{User: ann}, target{m.Conversation, m.ID}); !errors.Is(err, down) || b.looks != 1 {
		t.Errorf("%v after %d tries", err, b.looks)
	}
	if len(b.notices) > 0 || b.messages[m.ID].Recalled {
		t.Errorf("told %+v", b.notices)
	}
}

func TestARecalledMessageGrantsItsFileNoMore(t *testing.T) {
	said := im.Message{
		ID: im.NewMessageID(im.Now()), Conversation: im.Direct(ann, bob), Time: im.Now(), From: ann, Kind: im.KindFile,
		Data: []byte(`{"file":"ffffffffffffffff","name":"a.png"}`),
	}
	b := newBook(said)
	_, err := recall(b.change, time.Hour)(t.Context(), im.Caller{User: ann}, target{Conversation: said.Conversation, Message: said.ID})
	if err != nil {
		t.Fatal(err)
	}
	want := im.FileGrant{File: "ffffffffffffffff", Conversation: said.Conversation, Message: said.ID}
	if len(b.revoked) != 1 || b.revoked[0] != want {
		t.Errorf("revoked %v", b.revoked)
	}
	if m := b.messages[said.ID]; m.Data != nil || !m.Recalled {
		t.Errorf("it is %+v", m)
	}
}
