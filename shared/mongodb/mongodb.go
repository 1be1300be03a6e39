// Package mongodb keeps the inboxes of users in MongoDB. It knows the
// documents; it does not know how a message comes by its seq, nor who may read
// an inbox.
//
// Its errors have a kind wherever one is known. Unavailable means that the
// same call may succeed later.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/tidings-im/tidings/shared/dependency"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL     = proc.Setting{Name: "MONGODB_URL", Doc: "MongoDB, such as mongodb://user:password@host:27017/tidings; the path names the database", Need: true, Secret: true}
	settingPool    = proc.Setting{Name: "MONGODB_POOL", Default: "50", Doc: "most connections that a process holds to each MongoDB server"}
	settingConnect = proc.Setting{Name: "MONGODB_CONNECT_TIMEOUT", Default: "3s", Doc: "how long finding and connecting to the primary of MongoDB may take"}
)

// DB is the client of one database. It is safe for concurrent use.
type DB struct {
	inbox *Inbox
}

// Configured reports whether MONGODB_URL is set.
func Configured(env *proc.Env) bool {
	url := settingURL
	url.Need = false
	return env.Settings().String(url) != ""
}

// Open returns the process's client of the database at MONGODB_URL. Nothing is
// connected yet: a database that is down fails the calls, not the start. For
// the same reason indexes that are missing are made before the first write, not
// now.
func Open(_ context.Context, env *proc.Env) (*DB, error) {
	env.Uses("mongodb")
	set := env.Settings()
	url, size, connect := set.String(settingURL), set.Int(settingPool, 1), set.Duration(settingConnect)
	if err := set.Err(); err != nil {
		return nil, err
	}
	return proc.Share(env, "mongodb "+url, func() (*DB, func() error, error) {
		parsed, err := connstring.ParseAndValidate(url)
		if err != nil { // it may quote the URL, and with it the password
			return nil, nil, fmt.Errorf("setting %s: is not a URL as MongoDB's clients take them (%s)", settingURL.Name, settingURL.Doc)
		}
		if parsed.Database == "" {
			return nil, nil, fmt.Errorf("setting %s: names no database (%s)", settingURL.Name, settingURL.Doc)
		}
		// What is read can never be rolled back, and neither can what a write
		// has acknowledged: a seq that was seen once stands for ever.
		journal := true
		client, err := mongo.Connect(options.Client().ApplyURI(url).
			SetAppName("tidings").
			SetMaxPoolSize(uint64(size)).
			SetServerSelectionTimeout(connect).
			SetConnectTimeout(connect).
			SetReadPreference(readpref.Primary()).
			SetReadConcern(readconcern.Majority()).
			SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}))
		if err != nil {
			return nil, nil, fmt.Errorf("opening MongoDB: %w", err)
		}
		db := &DB{inbox: &Inbox{entries: client.Database(parsed.Database).Collection("inbox")}}
		return db, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return client.Disconnect(ctx)
		}, nil
	})
}

// Inbox returns the inboxes in db.
func (db *DB) Inbox() *Inbox { return db.inbox }

// failed wraps err, of what was being done, and gives it its kind. A nil err
// stays nil.
func failed(err error, format string, args ...any) error { return product.Wrap(err, format, args...) }

var product = dependency.Product{Name: "mongodb", Kind: kindOf, Shown: map[im.Kind]string{
	im.Unavailable: "the inbox cannot be reached just now; try again",
	im.Internal:    "the inbox could not do this",
	im.Invalid:     "the inbox cannot hold this",
	im.Conflict:    "this is there already",
	im.NotFound:    "there is no such thing",
}}

// Server error codes, of MongoDB's error_codes.yml.
var (
	tooLargeCodes = []int{10334, 17419, 17420} // BSONObjectTooLarge and its like
	passingCodes  = []int{
		6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, // hosts, networks, primaries that come and go
		24, 46, 50, 112, 202, // locks, time limits, write conflicts
		64, 100, // write concerns that could not be met in time
	}
)

func kindOf(err error) im.Kind {
	var server mongo.ServerError
	is := errors.As(err, &server)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return im.NotFound
	case unconfirmed(err):
		return im.Unavailable
	case mongo.IsDuplicateKeyError(err):
		return im.Conflict
	case dependency.Unanswered(err), mongo.IsTimeout(err), mongo.IsNetworkError(err), errors.Is(err, mongo.ErrClientDisconnected),
		is && (server.HasErrorLabel("RetryableWriteError") || server.HasErrorLabel("TransientTransactionError") || has(server, passingCodes)):
		return im.Unavailable
	case is && has(server, tooLargeCodes):
		return im.Invalid
	}
	return im.Internal
}

// unconfirmed reports whether err says of a write that it may be rolled back,
// whatever else it says.
func unconfirmed(err error) bool {
	var bulk mongo.BulkWriteException
	return errors.As(err, &bulk) && bulk.WriteConcernError != nil
}

func has(server mongo.ServerError, codes []int) bool {
	for _, c := range codes {
		if server.HasErrorCode(c) {
			return true
		}
	}
	return false
}
