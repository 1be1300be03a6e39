package mongodb

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/inboxtest"
)

func open(t testing.TB, vars map[string]string) *DB {
	t.Helper()
	db, err := Open(t.Context(), imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestInboxConforms(t *testing.T) {
	db := open(t, map[string]string{"MONGODB_URL": imtest.Mongo(t)})
	inboxtest.Run(t, func(t *testing.T) inboxtest.Store {
		if _, err := db.Inbox().entries.DeleteMany(t.Context(), bson.D{}); err != nil {
			t.Fatal(err)
		}
		return db.Inbox()
	})
}

func TestIndexesAreThereBeforeTheFirstEntry(t *testing.T) {
	for name, first := range map[string]func(context.Context, *Inbox) error{
		"made by who writes first": func(ctx context.Context, in *Inbox) error {
			_, err := in.Insert(ctx, []im.Entry{{User: im.NewID(), Seq: 1, ID: im.NewMessageID(1), Message: []byte("{}")}})
			return err
		},
		"made in advance, as often as one likes": func(ctx context.Context, in *Inbox) error {
			if err := in.Prepare(ctx); err != nil {
				return err
			}
			in.ready = false // as in another process
			return in.Prepare(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := open(t, map[string]string{"MONGODB_URL": imtest.Mongo(t)}).Inbox()
			if err := first(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			indexes, err := in.entries.Indexes().ListSpecifications(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			unique := make(map[string]bool)
			for _, index := range indexes {
				unique[index.Name] = index.Unique != nil && *index.Unique
			}
			if _, listed := unique["user_class_conversation"]; !listed || !unique["user_seq"] {
				t.Errorf("indexes = %v, want a unique one on user and seq, and that of conversations", indexes)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	const secret = "hunter2"
	for _, tt := range []struct {
		name string
		vars map[string]string
		want string // in the error
	}{
		{"without a URL it says which setting is missing", nil, "MONGODB_URL"},
		{"a URL that is none is refused without being shown", map[string]string{"MONGODB_URL": "mongodb://u:" + secret + "@h:notaport/d"}, "MONGODB_URL"},
		{"a URL without a database is refused", map[string]string{"MONGODB_URL": "mongodb://u:" + secret + "@h/"}, "names no database"},
		{"a pool of none is refused", map[string]string{"MONGODB_URL": "mongodb://h/d", "MONGODB_POOL": "0"}, "MONGODB_POOL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), imtest.Env(t, tt.vars))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("error = %v, want one about %s", err, tt.want)
			}
		})
	}
	t.Run("a server that is down fails the calls, not the start", func(t *testing.T) {
		db := open(t, map[string]string{"MONGODB_URL": "mongodb://127.0.0.1:1/d", "MONGODB_CONNECT_TIMEOUT": "100ms"})
		if _, err := db.Inbox().Heads(t.Context(), []string{im.NewID()}); im.KindOf(err) != im.Unavailable {
			t.Errorf("error = %v, want kind %s", err, im.Unavailable)
		}
		_, err := db.Inbox().Insert(t.Context(), []im.Entry{{User: im.NewID(), Seq: 1, ID: im.NewMessageID(1)}})
		if im.KindOf(err) != im.Unavailable {
			t.Errorf("error = %v, want kind %s", err, im.Unavailable)
		}
	})
}

func TestErrorsHaveTheirKinds(t *testing.T) {
	taken := mongo.BulkWriteError{WriteError: mongo.WriteError{Index: 1, Code: 11000}}
	for _, tt := range []struct {
		name string
		err  error
		want im.Kind
	}{
		{"a duplicate key", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{taken}}, im.Conflict},
		{"a duplicate key after writes that may be rolled back", mongo.BulkWriteException{
			WriteErrors: []mongo.BulkWriteError{taken}, WriteConcernError: &mongo.WriteConcernError{Code: 64},
		}, im.Unavailable},
		{"writes that may be rolled back", mongo.BulkWriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, im.Unavailable},
		{"a primary that has stepped down", mongo.CommandError{Code: 10107}, im.Unavailable},
		{"a deadline that passed", context.DeadlineExceeded, im.Unavailable},
		{"a document that is too large", mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 10334}}}, im.Invalid},
		{"a command that is not known", mongo.CommandError{Code: 59}, im.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := im.KindOf(failed(tt.err, "doing it")); got != tt.want {
				t.Errorf("kind = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAServerThatIsKilledAndComesBack(t *testing.T) {
	server := imtest.Start(t, "mongodb")
	db := open(t, map[string]string{"MONGODB_URL": strings.TrimSuffix(server.URL, "/") + "/" + imtest.Name(), "MONGODB_CONNECT_TIMEOUT": "500ms"})
	user := im.NewID()
	next := int64(1)
	insert := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := db.Inbox().Insert(ctx, []im.Entry{{User: user, Seq: next, ID: im.NewMessageID(im.Now()), Message: []byte("{}")}})
		return err
	}
	if err := insert(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	next = 2
	if err := insert(); im.KindOf(err) != im.Unavailable {
		t.Fatalf("error = %v, want kind %s", err, im.Unavailable)
	}
	server.Restart()
	imtest.Eventually(t, "the client has come back", func() error {
		err := insert()
		if err != nil && im.KindOf(err) != im.Unavailable {
			t.Fatalf("error = %v, want kind %s", err, im.Unavailable)
		}
		return err
	})
	heads, err := db.Inbox().Heads(t.Context(), []string{user})
	if err != nil || heads[user] != 2 {
		t.Errorf("heads = %v, %v; want 2", heads, err)
	}
}
