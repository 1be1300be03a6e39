package message

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/token"
)

// down are settings of services that are not there.
func down(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"INBOX_STORE":          "postgres",
		"CALLS_PER_SECOND":     "10000",
		"CALLS_BURST":          "10000",
		"REACTIONS_PER_MINUTE": "10000",
	})
}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	if _, err := fn.Mount(t.Context(), imtest.Env(t, down(t)), Recall, Edit, React, Delete); err != nil {
		t.Error(err)
	}
}

func TestFunctionsSayWhichSettingIsWrong(t *testing.T) {
	for _, f := range []fn.Func{Recall, Edit, React, Delete} {
		wrong := map[string]string{"POSTGRES_URL": "", "REDIS_URL": "", "KAFKA_BROKERS": "", "SEAL_KEYS": "", "TOKEN_PUBLIC_KEYS": ""}
		switch f.Name {
		case Recall.Name:
			wrong["RECALL_WINDOW"] = "soon"
		case Edit.Name:
			wrong["EDIT_WINDOW"], wrong["DIRECT_POLICY"] = "soon", "nobody"
		case React.Name:
			wrong["DIRECT_POLICY"] = "nobody"
		case Delete.Name:
			wrong["INBOX_STORE"] = "nowhere"
		}
		for name, value := range wrong {
			vars := down(t)
			vars[name] = value
			if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), f); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s with %s=%q: %v", f.Name, name, value, err)
			}
		}
	}
}

// system is the functions on real services, with their users.
type system struct {
	env   *proc.Env
	db    *pgtest.DB
	url   string
	token map[string]string // by user
}

func newSystem(t *testing.T, users ...string) *system {
	t.Helper()
	vars := down(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t), strings.Join(imtest.Kafka(t), ",")
	s := &system{env: imtest.Env(t, vars), token: map[string]string{}}
	if err := kafka.EnsureTopics(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.db, err = pgtest.Open(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	tokens, err := token.OpenIssuer(s.env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := s.db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
		if s.token[u], _, err = tokens.Issue(im.Caller{User: u, Session: u, Device: "phone", Platform: "ios"}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := fn.Mount(t.Context(), s.env, Recall, Edit, React, Delete)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// call calls a function as a user and returns its status and answer.
func (s *system) call(t *testing.T, function, user, in string) (status int, answer []byte) {
	t.Helper()
	a, err := fntest.Post(t.Context(), s.url+"/"+function, s.token[user], in)
	if err != nil {
		t.Error(err)
	}
	return a.Status, a.Body
}

// notices waits until so many notices of a conversation are in Kafka, and
// returns them in the order of the conversation.
func (s *system) notices(t *testing.T, c im.Conversation, n int) []event.Accepted {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []event.Accepted
	for from := map[int]int64{}; len(all) < n; {
		err := kafka.Scan(ctx, s.env, event.TopicMessages, from, func(r kafka.Record) error {
			from[r.Partition] = r.Offset + 1
			if string(r.Key) != string(c) {
				return nil
			}
			var a event.Accepted
			err := json.Unmarshal(r.Value, &a)
			all = append(all, a)
			return err
		})
		if err != nil {
			t.Fatalf("%d notices of %s, want %d: %v", len(all), c, n, err)
		}
	}
	slices.SortFunc(all, func(a, b event.Accepted) int { return int(a.Message.Time - b.Message.Time) })
	return all
}

func (s *system) history(t *testing.T, c im.Conversation, user string) []im.Message {
	t.Helper()
	all, _, err := s.db.History(t.Context(), c, user, im.Place{}, false, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheLifeOfAMessage(t *testing.T) {
	ann, bob, eve, staff := im.NewID(), im.NewID(), im.NewID(), im.NewID()
	s := newSystem(t, ann, bob, eve)
	group := im.GroupInfo{ID: staff, Name: "staff", Owner: ann, Policy: im.PolicyInvite, Created: im.Now()}
	_, _, err := s.db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.CreateGroup(ctx, group, []string{bob})
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c        im.Conversation
		moment   im.Message // of bob
		owner    int        // what ann is answered who recalls it
		stranger int        // what eve is answered who deletes it
	}{
		{im.Direct(ann, bob), said(im.Direct(ann, bob), bob, time.Minute), 403, 403},
		{im.Group(staff), said(im.Group(staff), bob, 12*time.Hour), 200, 404},
	} {
		t.Run(string(tt.c), func(t *testing.T) {
			m := tt.moment
			if err := s.db.AppendHistory(t.Context(), []im.Message{m}); err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf(`"conversation":%q,"message":%q`, tt.c, m.ID)
			for i, step := range []struct {
				function, user, in string
				status             int
			}{
				{"message-react", "", `{` + at + `,"emoji":"👍","on":true}`, 401},
				{"message-react", eve, `{` + at + `,"emoji":"👍","on":true}`, 403},
				{"message-react", ann, `{` + at + `,"emoji":"👍","on":true}`, 200}, // told
				{"message-react", ann, `{` + at + `,"emoji":"👍","on":true}`, 200},
				{"message-react", ann, `{` + at + `,"emoji":"like","on":true}`, 400},
				{"message-react", ann, `{` + at + `,"emojo":"👍","on":true}`, 400},
				{"message-edit", ann, `{` + at + `,"text":"mine"}`, 403},
				{"message-edit", eve, `{` + at + `,"text":"mine"}`, 403},
				{"message-edit", bob, `{` + at + `,"text":"better"}`, 200}, // told
				{"message-edit", bob, `{` + at + `,"text":"better"}`, 200},
				{"message-edit", bob, fmt.Sprintf(`{"conversation":%q,"message":%q,"text":"x"}`, tt.c, im.NewMessageID(1)), 404},
				{"message-delete", eve, fmt.Sprintf(`{"conversation":%q,"messages":[%q]}`, tt.c, m.ID), tt.stranger},
				{"message-delete", ann, fmt.Sprintf(`{"conversation":%q,"messages":[%q]}`, tt.c, m.ID), 200}, // told
				{"message-delete", ann, fmt.Sprintf(`{"conversation":%q,"messages":[%q]}`, tt.c, m.ID), 200},
				{"message-recall", eve, `{` + at + `}`, 403},
				{"message-recall", ann, `{` + at + `}`, tt.owner}, // told, of the group
				{"message-recall", bob, `{` + at + `}`, 200},      // told, of the two
				{"message-recall", bob, `{` + at + `}`, 200},
				{"message-edit", bob, `{` + at + `,"text":"again"}`, 409},
				{"message-react", bob, `{` + at + `,"emoji":"👍","on":true}`, 409},
			} {
				status, answer := s.call(t, step.function, step.user, step.in)
				if status != step.status {
					t.Errorf("%d: %s as %s is answered %d %s, want %d", i, step.function, step.user, status, answer, step.status)
				}
				switch {
				case status != 200:
				case step.function == "message-edit":
					var got im.Message
					if err := json.Unmarshal(answer, &got); err != nil || got.Text != "better" || got.Revision != 1 || got.ID != m.ID {
						t.Errorf("the message edited is %s, %v", answer, err)
					}
				case string(bytes.TrimSpace(answer)) != "{}":
					t.Errorf("%s answers %s", step.function, answer)
				}
				if i == 5 {
					got, err := s.db.Reactions(t.Context(), tt.c, ann, []string{m.ID})
					if err != nil || !slices.Equal(got[m.ID], []im.Reaction{{Emoji: "👍", Count: 1, Mine: true}}) {
						t.Errorf("reactions are %v, %v", got, err)
					}
				}
			}

			told := s.notices(t, tt.c, 4)
			var types []string
			to := tt.c.Group()
			for _, a := range told {
				var data struct{ Type string }
				if err := json.Unmarshal(a.Message.Data, &data); err != nil {
					t.Fatal(err)
				}
				types = append(types, data.Type)
				if !a.Quiet || a.Message.Kind != im.KindNotice || len(a.Amended) > 1 || len(a.Amended) == 1 && a.Amended[0].ID != m.ID {
					t.Errorf("told %+v", a)
				}
				want := a.Message.Recipients()
				if data.Type == im.MessageDeleted {
					want = []string{ann}
				}
				if !slices.Equal(a.Recipients, want) {
					t.Errorf("of %s are told %q (of group %q), want %q", data.Type, a.Recipients, to, want)
				}
			}
			if want := []string{im.MessageReacted, im.MessageEdited, im.MessageDeleted, im.MessageRecalled}; !slices.Equal(types, want) {
				t.Fatalf("told %q, want %q", types, want)
			}
			edited, deleted, recalled := told[1].Amended[0], told[2].Amended[0], told[3].Amended[0]
			if edited.Text != "better" || edited.Revision != 1 || edited.Edited == 0 ||
				deleted.Kind != im.KindDeleted || deleted.Text != "" || deleted.Revision <= recalled.Revision ||
				recalled.Text != "" || !recalled.Recalled || recalled.Revision != 2 || recalled.ClientID != m.ClientID {
				t.Errorf("inboxes are to hold %+v, then %+v, then %+v", edited, deleted, recalled)
			}

			// The original once more, from Kafka.
			if err := s.db.AppendHistory(t.Context(), []im.Message{m}); err != nil {
				t.Fatal(err)
			}
			if got := s.history(t, tt.c, bob); len(got) != 1 || !reflect.DeepEqual(got[0], recalled) {
				t.Errorf("bob reads %+v, want %+v", got, recalled)
			}
			if got := s.history(t, tt.c, ann); len(got) != 0 {
				t.Errorf("ann reads %+v", got)
			}
			if got, err := s.db.Reactions(t.Context(), tt.c, ann, []string{m.ID}); err != nil || len(got) > 0 {
				t.Errorf("reactions are %v, %v", got, err)
			}
		})
	}
}

// However many change a message at once, whoever goes by the greatest revision
// that they are told of ends with what history has.
func TestP2ChangesOfAMessageAtOnceEndTheSameEverywhere(t *testing.T) {
	ann, bob := im.NewID(), im.NewID()
	s := newSystem(t, ann, bob)
	c := im.Direct(ann, bob)
	for round := range 5 {
		m := said(c, ann, 0)
		if err := s.db.AppendHistory(t.Context(), []im.Message{m}); err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf(`"conversation":%q,"message":%q`, c, m.ID)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 4 {
					switch status, answer := s.call(t, "message-edit", ann, fmt.Sprintf(`{%s,"text":"%d-%d"}`, at, i, j)); status {
					case 200, 409:
					default:
						t.Errorf("edit: %d %s", status, answer)
					}
					if i == 7 && j == round%4 && round < 4 {
						if status, answer := s.call(t, "message-recall", ann, `{`+at+`}`); status != 200 {
							t.Errorf("recall: %d %s", status, answer)
						}
					}
				}
			})
		}
		all.Wait()
		var final im.Message
		for _, had := range s.history(t, c, bob) {
			if had.ID == m.ID {
				final = had
			}
		}
		if final.Revision < 1 || final.Recalled != (round < 4) {
			t.Errorf("the message ends as %+v", final)
		}
		var told []im.Message
		for n := final.Revision; len(told) < final.Revision; n++ { // the notices of earlier rounds are there, too
			told = nil
			for _, a := range s.notices(t, c, n) {
				if a.Amended[0].ID == m.ID {
					told = append(told, a.Amended[0])
				}
			}
		}
		for i, a := range told {
			if a.Revision != i+1 || a.Recalled && i+1 < len(told) {
				t.Errorf("the notice in place %d is of revision %d: %+v", i+1, a.Revision, a)
			}
		}
		if last := told[len(told)-1]; !reflect.DeepEqual(last, final) {
			t.Errorf("told last %+v, history has %+v", last, final)
		}
	}
}
