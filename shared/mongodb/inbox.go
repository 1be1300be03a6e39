package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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

// entry is a document of the collection. Its _id sorts, among those of its
// user, as the ids of messages do.
type entry struct {
	ID      string `bson:"_id"` // key of its user and message
	User    string `bson:"user"`
	Seq     int64  `bson:"seq"`
	Message string `bson:"message"` // JSON, as clients get it; nothing here looks inside

	Conversation im.Conversation `bson:"conversation"`
	Class        im.Class        `bson:"class"`
	Revision     int             `bson:"revision"`
}

func key(k im.EntryKey) string { return k.User + "/" + k.ID }

// message returns the id of the message of a document of user.
func message(user, id string) string { return id[len(user)+1:] }

// Prepare makes the indexes, without which nothing may be written. Of a large
// collection that takes long; once they are there it does nothing.
func (in *Inbox) Prepare(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ready {
		return nil
	}
	// One at a time: FerretDB breaks off the connection when a command has two that are there already.
	for _, index := range []mongo.IndexModel{{
		Keys:    bson.D{{Key: "user", Value: 1}, {Key: "seq", Value: 1}},
		Options: options.Index().SetName("user_seq").SetUnique(true),
	}, {
		Keys:    bson.D{{Key: "user", Value: 1}, {Key: "class", Value: 1}, {Key: "conversation", Value: 1}, {Key: "_id", Value: 1}},
		Options: options.Index().SetName("user_class_conversation"),
	}} {
		if _, err := in.entries.Indexes().CreateOne(ctx, index); err != nil {
			return failed(err, "making the indexes of the inbox")
		}
	}
	in.ready = true
	return nil
}

// readsAtOnce is how many reads are under way for one call. Each is one look
// into an index: an aggregation over all of the users, or conversations, would
// walk through their inboxes.
const readsAtOnce = 16

// Heads returns the greatest seq in the inbox of each user. Users whose inbox
// is empty are left out.
func (in *Inbox) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	var mu sync.Mutex
	heads := make(map[string]int64, len(users))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
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
	if err := in.Prepare(ctx); err != nil {
		return 0, err
	}
	docs := make([]entry, len(entries))
	for i, e := range entries {
		docs[i] = entry{
			ID: key(e.Key()), User: e.User, Seq: e.Seq, Message: string(e.Message),
			Conversation: e.Conversation, Class: e.Class, Revision: e.Revision,
		}
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

// Seqs is After without the messages.
func (in *Inbox) Seqs(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	docs, err := in.find(ctx,
		bson.D{{Key: "user", Value: user}, {Key: "seq", Value: bson.D{{Key: "$gt", Value: after}}}},
		options.Find().SetSort(bson.D{{Key: "seq", Value: 1}}).SetLimit(int64(limit)).SetProjection(bson.D{{Key: "seq", Value: 1}}))
	if err != nil {
		return nil, failed(err, "reading the seqs of %s", user)
	}
	entries := make([]im.Entry, len(docs))
	for i, d := range docs {
		entries[i] = im.Entry{User: user, Seq: d.Seq, ID: message(user, d.ID)}
	}
	return entries, nil
}

// After returns at most limit entries of a user, those right after a seq, in
// the order of seq. They have a user, seq, id and message.
func (in *Inbox) After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	docs, err := in.find(ctx,
		bson.D{{Key: "user", Value: user}, {Key: "seq", Value: bson.D{{Key: "$gt", Value: after}}}},
		options.Find().SetSort(bson.D{{Key: "seq", Value: 1}}).SetLimit(int64(limit)).
			SetProjection(bson.D{{Key: "seq", Value: 1}, {Key: "message", Value: 1}}))
	if err != nil {
		return nil, failed(err, "reading the inbox of %s", user)
	}
	entries := make([]im.Entry, len(docs))
	for i, d := range docs {
		entries[i] = im.Entry{User: user, Seq: d.Seq, ID: message(user, d.ID), Message: json.RawMessage(d.Message)}
	}
	return entries, nil
}

// Get returns those entries that are there.
func (in *Inbox) Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error) {
	ids, asked := make([]string, len(keys)), make(map[im.EntryKey]bool, len(keys))
	for i, k := range keys {
		ids[i], asked[k] = key(k), true
	}
	docs, err := in.find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find())
	if err != nil {
		return nil, failed(err, "reading %d inbox entries", len(keys))
	}
	entries := make(map[im.EntryKey]im.Entry, len(docs))
	for _, d := range docs {
		e := im.Entry{
			User: d.User, Seq: d.Seq, ID: message(d.User, d.ID), Message: json.RawMessage(d.Message),
			Conversation: d.Conversation, Class: d.Class, Revision: d.Revision,
		}
		if asked[e.Key()] {
			entries[e.Key()] = e
		}
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

// amendAtOnce is how many updates go into one command.
const amendAtOnce = 100

// Amend replaces the message, class and revision of those entries that are
// there with a lesser revision. Of several for one entry the greatest counts.
func (in *Inbox) Amend(ctx context.Context, entries []im.Entry) error {
	for part := range slices.Chunk(entries, amendAtOnce) {
		updates := make([]mongo.WriteModel, len(part))
		for i, e := range part {
			updates[i] = mongo.NewUpdateOneModel().
				SetFilter(bson.D{
					{Key: "_id", Value: key(e.Key())},
					{Key: "user", Value: e.User}, // the shard
					{Key: "revision", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: e.Revision}}}}}, // old ones have none
				}).
				SetUpdate(bson.D{{Key: "$set", Value: bson.D{
					{Key: "message", Value: string(e.Message)}, {Key: "class", Value: e.Class}, {Key: "revision", Value: e.Revision},
				}}})
		}
		if _, err := in.entries.BulkWrite(ctx, updates, options.BulkWrite().SetOrdered(false)); err != nil {
			return failed(err, "amending %d inbox entries", len(entries))
		}
	}
	return nil
}

// Erase removes all entries of a user. If it fails, some may be left.
func (in *Inbox) Erase(ctx context.Context, user string) error {
	_, err := in.entries.DeleteMany(ctx, bson.D{{Key: "user", Value: user}})
	return failed(err, "erasing the inbox of %s", user)
}

// removeAtOnce is how many entries are removed by one command.
const removeAtOnce = 1000

// Remove removes the entries of a user at these seqs, as far as they are there.
func (in *Inbox) Remove(ctx context.Context, user string, seqs []int64) error {
	for part := range slices.Chunk(seqs, removeAtOnce) {
		_, err := in.entries.DeleteMany(ctx, bson.D{{Key: "user", Value: user}, {Key: "seq", Value: bson.D{{Key: "$in", Value: part}}}})
		if err != nil {
			return failed(err, "removing %d inbox entries", len(seqs))
		}
	}
	return nil
}
