package functions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/functions/archive"
	"github.com/tidings-im/tidings/functions/history"
	"github.com/tidings-im/tidings/functions/message"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/token"
)

// A chat is the functions that read and change messages, with those of the
// archive, on real services.
type chat struct {
	t     *testing.T
	db    *pgtest.DB
	url   string
	token map[string]string // by user
}

func newChat(t *testing.T, users ...string) *chat {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	env := imtest.Env(t, fntest.Settings(t, map[string]string{
		"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "REDIS_URL": imtest.Redis(t), "KAFKA_BROKERS": strings.Join(imtest.Kafka(t), ","), "INBOX_STORE": "postgres",
		"ARCHIVE_URL": imtest.S3(t), "ARCHIVE_AFTER": "744h", "FUNCTION_URL": srv.URL + "/{function}",
		"CALLS_PER_SECOND": "10000", "CALLS_BURST": "10000",
	}))
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(t.Context(), env, history.Read, message.Recall, message.React, message.Delete, archive.Read, archive.Move)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", h)
	c := &chat{t: t, url: srv.URL, token: map[string]string{}}
	if c.db, err = pgtest.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	tokens, err := token.OpenIssuer(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := c.db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
		if c.token[u], _, err = tokens.Issue(im.Caller{User: u, Session: u, Device: "phone", Platform: "ios"}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// call calls a function as a user, and fails the test unless it answers so.
func (c *chat) call(function, user, in string, status int) (answer []byte) {
	c.t.Helper()
	a, err := fntest.Post(c.t.Context(), c.url+"/"+function, c.token[user], in)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.Status != status {
		c.t.Fatalf("%s %s: status %d, want %d: %s", function, in, a.Status, status, a.Body)
	}
	return a.Body
}

// read reads all of a conversation, by pages from the newest to the oldest.
func (c *chat) read(of im.Conversation, user string) (all []im.Message) {
	c.t.Helper()
	for before := ""; ; {
		var page struct {
			Messages []im.Message
			Prev     string
		}
		in := fmt.Sprintf(`{"conversation":%q,"before":%q,"limit":9}`, of, before)
		if err := json.Unmarshal(c.call("message-history", user, in, 200), &page); err != nil {
			c.t.Fatal(err)
		}
		all = append(page.Messages, all...)
		if before = page.Prev; before == "" {
			return all
		}
	}
}

func TestArchivedMessagesAreReadAndChangedAsAnyOthers(t *testing.T) {
	owner, member, stranger := im.NewID(), im.NewID(), im.NewID()
	c := newChat(t, owner, member, stranger)
	staff := im.NewID()
	_, _, err := c.db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.CreateGroup(ctx, im.GroupInfo{ID: staff, Name: "staff", Owner: owner, Policy: im.PolicyInvite, Created: im.Now()}, []string{member})
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	of := im.Group(staff)
	var want []im.Message
	for i := range 60 {
		at := im.TimeOf(time.Now().AddDate(0, 0, -3*(60-i)))
		want = append(want, im.Message{ID: im.NewMessageID(at), Conversation: of, Time: at, From: member, ClientID: "c", Kind: im.KindText, Text: fmt.Sprint(i)})
	}
	if err := c.db.AppendHistory(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	before := c.read(of, owner)
	c.call("archive-history", "", "", 204)
	is := func(i int) bool {
		archived, err := c.db.Archived(t.Context(), want[i].Time)
		if err != nil {
			t.Fatal(err)
		}
		return archived
	}
	if !is(0) || !is(9) || is(59) {
		t.Fatal("the wrong messages are archived")
	}
	same := func(reader string, changed map[int]func(*im.Message)) {
		t.Helper()
		now := c.read(of, reader)
		if len(before) != 60 || len(now) != 60 {
			t.Fatalf("%d messages before, %d now", len(before), len(now))
		}
		for i := range now {
			m := before[i]
			if f := changed[i]; f != nil {
				f(&m)
			}
			if a, b := fmt.Sprintf("%+v", m), fmt.Sprintf("%+v", now[i]); a != b {
				t.Errorf("the %d-th message is\n%s\nwant\n%s", i, b, a)
			}
		}
	}
	same(owner, nil)

	at := func(i int) string { return fmt.Sprintf(`"conversation":%q,"message":%q`, of, want[i].ID) }
	c.call("message-history", stranger, fmt.Sprintf(`{"conversation":%q}`, of), 403)
	c.call("message-recall", stranger, `{`+at(1)+`}`, 403)
	c.call("message-recall", member, `{`+at(1)+`}`, 403) // it is older than the window
	c.call("message-recall", owner, `{`+at(1)+`}`, 200)
	c.call("message-recall", owner, `{`+at(1)+`}`, 200)
	c.call("message-recall", owner, fmt.Sprintf(`{"conversation":%q,"message":%q}`, of, im.NewMessageID(want[1].Time)), 404)
	c.call("message-react", owner, `{`+at(1)+`,"emoji":"👍","on":true}`, 409)
	c.call("message-react", owner, `{`+at(2)+`,"emoji":"👍","on":true}`, 200)
	changed := map[int]func(*im.Message){
		1: func(m *im.Message) { m.Text, m.Revision, m.Recalled = "", 1, true },
		2: func(m *im.Message) { m.Reactions = []im.Reaction{{Emoji: "👍", Count: 1, Mine: true}} },
	}
	same(owner, changed)

	c.call("message-delete", stranger, fmt.Sprintf(`{"conversation":%q,"messages":[%q]}`, of, want[4].ID), 404)
	for range 2 {
		c.call("message-delete", member, fmt.Sprintf(`{"conversation":%q,"messages":[%q,%q]}`, of, want[4].ID, want[59].ID), 200)
	}
	if n := len(c.read(of, member)); n != 58 {
		t.Errorf("who has deleted two reads %d", n)
	}
	same(owner, changed)
}
