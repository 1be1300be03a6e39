package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

// An Inbox keeps the inboxes of all users in a collection. It is held to the
// conformance test of package inboxtest.
//
// To shard the collection use the key {user: 1}, by range: then _id and
// (user, seq) are unique in the whole cluster, because they are in each shard.
type Inbox struct {
	entries *mongo.Collection

	mu    sync.Mutex
	ready bool // the indexes are known to be there
}

// entry is a document of the collection.
type entry struct {
	ID      string `bson:"_id"` // key of its user and message
	User    string `bson:"user"`
	Seq     int64  `bson:"seq"`
	Message string `bson:"message"` // JSON, as clients get it; nothing here looks inside
}

func key(k im.EntryKey) string { return k.User + "/" + k.ID }

// prepare makes the indexes, without which nothing may be written.
func (in *Inbox) prepare(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ready {
		return nil
	}
	_, err := in.entries.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "user", Value: 1}, {Key: "seq", Value: 1}},
		Options: options.Index().SetName("user_seq").SetUnique(true),
	})
	in.ready = err == nil
	return failed(err, "making the indexes of the inbox")
}

// headsAtOnce is how many heads are read at a time. Each is one look into the
// index: an aggregation over all of the users would walk through their inboxes.
const headsAtOnce = 16

// Heads returns the greatest seq in the inbox of each user. Users whose inbox
// is empty are left out.
func (in *Inbox) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	var mu sync.Mutex
	heads := make(map[string]int64, len(users))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(headsAtOnce)
	for _, user := range users {
		group.Go(func() error {
			var last entry
			err := in.entries.FindOne(ctx, bson.D{{Key: "user", Value: user}}, options.FindOne().
				SetSort(bson.D{{Key: "seq", Value: -1}}).
				SetProjection(bson.D{{Key: "seq", Value: 1}, {Key: "_id", Value: 0}})).Decode(&last)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			heads[user] = last.Seq
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, failed(err, "reading %d inbox heads", len(users))
	}
	return heads, nil
}

// Insert adds entries in order and stops at the first that fails: n of them
// are there for good. Conflict means that the user of entries[n] has its seq or
// its message already. Of any other error n says nothing.
func (in *Inbox) Insert(ctx context.Context, entries []im.Entry) (n int, err error) {
	if len(entries) == 0 {
		return 0, nil
	}
	if err := in.prepare(ctx); err != nil {
		return 0, err
	}
	docs := make([]entry, len(entries))
	for i, e := range entries {
		docs[i] = entry{ID: key(e.Key()), User: e.User, Seq: e.Seq, Message: string(e.Message)}
	}
	_, err = in.entries.InsertMany(ctx, docs, options.InsertMany().SetOrdered(true))
	if err == nil {
		return len(entries), nil
	}
	var bulk mongo.BulkWriteException
	if errors.As(err, &bulk) && bulk.WriteConcernError == nil && len(bulk.WriteErrors) > 0 {
		n = bulk.WriteErrors[0].Index
	}
	return n, failed(err, "adding %d inbox entries", len(entries))
}

// Find returns the seqs of those entries that are there.
func (in *Inbox) Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	ids, of := make([]string, len(keys)), make(map[string]im.EntryKey, len(keys))
	for i, k := range keys {
		ids[i] = key(k)
		of[ids[i]] = k
	}
	docs, err := in.find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "seq", Value: 1}}))
	if err != nil {
		return nil, failed(err, "looking for %d inbox entries", len(keys))
	}
	found := make(map[im.EntryKey]int64, len(docs))
	for _, d := range docs {
		found[of[d.ID]] = d.Seq
	}
	return found, nil
}

// After returns at most limit entries of a user, those right after a seq, in
// the order of seq.
func (in *Inbox) After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	docs, err := in.find(ctx,
		bson.D{{Key: "user", Value: user}, {Key: "seq", Value: bson.D{{Key: "$gt", Value: after}}}},
		options.Find().SetSort(bson.D{{Key: "seq", Value: 1}}).SetLimit(int64(limit)))
	if err != nil {
		return nil, failed(err, "reading the inbox of %s", user)
	}
	entries := make([]im.Entry, len(docs))
	for i, d := range docs {
		entries[i] = im.Entry{User: user, Seq: d.Seq, ID: d.ID[len(user)+1:], Message: json.RawMessage(d.Message)}
	}
	return entries, nil
}

func (in *Inbox) find(ctx context.Context, filter any, opts *options.FindOptionsBuilder) ([]entry, error) {
	cursor, err := in.entries.Find(ctx, filter, opts)
	if err != nil {
		return nil, err
	}
	var docs []entry
	err = cursor.All(ctx, &docs)
	return docs, err
}
