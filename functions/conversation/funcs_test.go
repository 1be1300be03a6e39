package conversation

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/conversations"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// down are settings of services that are not there.
func down(t testing.TB) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"MONGODB_URL": "mongodb://127.0.0.1:1/d",
	})
}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	for _, store := range []string{"mongodb", "postgres"} {
		vars := down(t)
		vars["INBOX_STORE"] = store
		if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), List, Update, Read); err != nil {
			t.Errorf("with the inbox in %s: %v", store, err)
		}
	}
}

func TestFunctionsSayWhichSettingIsMissing(t *testing.T) {
	for f, needs := range map[*fn.Func][]string{
		&List:   {"MONGODB_URL", "POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS"},
		&Update: {"MONGODB_URL", "POSTGRES_URL", "REDIS_URL", "KAFKA_BROKERS", "SEAL_KEYS"},
		&Read:   {"MONGODB_URL", "POSTGRES_URL", "REDIS_URL", "KAFKA_BROKERS", "SEAL_KEYS"},
	} {
		for _, need := range needs {
			vars := down(t)
			delete(vars, need)
			_, err := fn.Mount(t.Context(), imtest.Env(t, vars), *f)
			if err == nil || !strings.Contains(err.Error(), need) {
				t.Errorf("%s without %s: %v", f.Name, need, err)
			}
		}
	}
}

// A site is the functions on real services, without who calls them.
type site struct {
	inbox  inbox.Store
	list   func(context.Context, im.Caller, listRequest) (listPage, error)
	update func(context.Context, im.Caller, updateRequest) (struct{}, error)
	read   func(context.Context, im.Caller, readRequest) (readAnswer, error)
}

func open(t testing.TB, env *proc.Env) site {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := inbox.Open(t.Context(), env)
	must(err)
	db, err := pgtest.Open(t.Context(), env)
	must(err)
	cache, err := redis.Open(t.Context(), env)
	must(err)
	change, err := proc.Build(t.Context(), env, func(o *proc.Opener) changer { return outbox.ChangesIn[tx](o, conversations.With) })
	must(err)
	members := cache.NewMembers(db)
	m := &marker{change: change, inbox: store, relations: db, members: members, most: 50}
	return site{store, list(store, db), update(change, store, members), m.read}
}

func services(t testing.TB) map[string]string {
	t.Helper()
	vars := down(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t), strings.Join(imtest.Kafka(t), ",")
	if err := kafka.EnsureTopics(t.Context(), imtest.Env(t, vars)); err != nil {
		t.Fatal(err)
	}
	return vars
}

func TestConversationsInEitherStore(t *testing.T) {
	for store, add := range map[string]func(map[string]string){
		"postgres": func(map[string]string) {},
		"mongodb":  func(vars map[string]string) { vars["MONGODB_URL"] = imtest.Mongo(t) },
	} {
		t.Run(store, func(t *testing.T) {
			vars := services(t)
			vars["INBOX_STORE"] = store
			add(vars)
			s := open(t, imtest.Env(t, vars))
			caller, yes, no := im.Caller{User: ann}, true, false
			said := func(n int, c im.Conversation, from string) {
				t.Helper()
				heads, err := s.inbox.Heads(t.Context(), []string{ann})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.inbox.Insert(t.Context(), []im.Entry{{
					User: ann, Seq: heads[ann] + 1, ID: mid(n), Message: []byte(fmt.Sprintf(`{"id":%q}`, mid(n))),
					Conversation: c, Class: im.ClassOf(im.KindText, from, ann, false, false),
				}}); err != nil {
					t.Fatal(err)
				}
			}
			shows := func(want string) {
				t.Helper()
				page, err := s.list(t.Context(), caller, listRequest{})
				if err != nil {
					t.Fatal(err)
				}
				if got := told(t, page); got != want {
					t.Errorf("the list is %q, want %q", got, want)
				}
			}
			changes := func(in updateRequest) {
				t.Helper()
				if _, err := s.update(t.Context(), caller, in); err != nil {
					t.Fatal(err)
				}
			}
			reads := func(c im.Conversation, n, want int) {
				t.Helper()
				if got, err := s.read(t.Context(), caller, readRequest{c, mid(n)}); err != nil || got.Message != mid(want) {
					t.Errorf("read up to %s, %v; want %s", got.Message, err, mid(want))
				}
			}

			shows("")
			said(1, im.Direct(ann, bob), bob)
			said(2, im.Direct(ann, cem), ann)
			said(3, im.Direct(ann, bob), bob)
			shows("3+2, 2")
			reads(im.Direct(ann, bob), 1, 1)
			shows("3+1@1, 2")
			reads(im.Direct(ann, bob), 3, 3)
			reads(im.Direct(ann, bob), 1, 3)
			shows("3@3, 2")
			changes(updateRequest{im.Direct(ann, cem), &yes, &yes, nil})
			shows("2 pinned muted, 3@3")
			changes(updateRequest{im.Direct(ann, bob), nil, nil, &yes})
			shows("2 pinned muted")
			said(4, im.Direct(ann, bob), bob)
			shows("2 pinned muted, 4+1@3")
			changes(updateRequest{im.Direct(ann, cem), &no, &no, nil})
			shows("4+1@3, 2")
			if _, err := s.read(t.Context(), caller, readRequest{im.Direct(ann, bob), mid(5)}); im.KindOf(err) != im.NotFound {
				t.Errorf("error = %v, want kind %s", err, im.NotFound)
			}
		})
	}
}
