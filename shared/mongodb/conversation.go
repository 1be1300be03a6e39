package mongodb

import (
	"context"
	"errors"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

// listed are the classes of entries by which a conversation is in the list.
var listed = []im.Class{im.ClassShown, im.ClassUnread}

// Latest returns the newest entry that is more than quiet, by the id of its
// message, in each of a user's conversations, of which it reads limit at most
// of each class.
func (in *Inbox) Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error) {
	latest := make(map[im.Conversation]string)
	for _, class := range listed {
		err := in.latest(ctx, user, class, limit, latest)
		if err != nil {
			return nil, failed(err, "reading the conversations of %s", user)
		}
	}
	return latest, nil
}

// latest raises latest by the entries of a class. MongoDB answers from the
// index, where it leaps from one conversation to the next (DISTINCT_SCAN: it
// groups by a field that it sorts by, and takes the first of each group).
func (in *Inbox) latest(ctx context.Context, user string, class im.Class, limit int, latest map[im.Conversation]string) error {
	match := bson.D{{Key: "user", Value: user}, {Key: "class", Value: class}}
	newestFirst := bson.D{{Key: "conversation", Value: -1}, {Key: "_id", Value: -1}}
	cursor, err := in.entries.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: match}},
		{{Key: "$sort", Value: newestFirst}},
		{{Key: "$group", Value: bson.D{{Key: "_id", Value: "$conversation"}, {Key: "newest", Value: bson.D{{Key: "$first", Value: "$_id"}}}}}},
		{{Key: "$limit", Value: limit}},
	})
	var server mongo.ServerError
	if errors.As(err, &server) && server.HasErrorCode(notImplemented) {
		return in.walk(ctx, user, match, newestFirst, limit, latest)
	}
	if err != nil {
		return err
	}
	var found []struct {
		Conversation im.Conversation `bson:"_id"`
		Newest       string          `bson:"newest"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return err
	}
	for _, f := range found {
		latest[f.Conversation] = max(latest[f.Conversation], message(user, f.Newest))
	}
	return nil
}

const notImplemented = 238 // of MongoDB's error_codes.yml

// walk does what latest does on a server that cannot group so, which is fit for
// small inboxes only (FerretDB 1).
func (in *Inbox) walk(ctx context.Context, user string, match, newestFirst bson.D, limit int, latest map[im.Conversation]string) error {
	cursor, err := in.entries.Find(ctx, match, options.Find().SetSort(newestFirst).SetProjection(bson.D{{Key: "conversation", Value: 1}}))
	if err != nil {
		return err
	}
	defer cursor.Close(ctx)
	for n, last := 0, im.Conversation(""); cursor.Next(ctx); {
		var d entry
		if err := cursor.Decode(&d); err != nil {
			return err
		}
		if n > 0 && d.Conversation == last {
			continue
		}
		if n++; n > limit {
			break
		}
		last = d.Conversation
		latest[last] = max(latest[last], message(user, d.ID))
	}
	return cursor.Err()
}

// Newest returns the id of the newest message in one of a user's conversations
// that is more than quiet; "" if there is none.
func (in *Inbox) Newest(ctx context.Context, user string, c im.Conversation) (string, error) {
	newest := ""
	for _, class := range listed {
		var d entry
		err := in.entries.FindOne(ctx,
			bson.D{{Key: "user", Value: user}, {Key: "class", Value: class}, {Key: "conversation", Value: c}},
			options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "_id", Value: 1}})).Decode(&d)
		if errors.Is(err, mongo.ErrNoDocuments) {
			continue
		}
		if err != nil {
			return "", failed(err, "reading the newest message of %s in %s", user, c)
		}
		newest = max(newest, message(user, d.ID))
	}
	return newest, nil
}

// Unread returns how many unread entries of a user follow a message, in each
// of the conversations given; it counts to most, and no further. "" precedes
// all messages.
func (in *Inbox) Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error) {
	var mu sync.Mutex
	unread := make(map[im.Conversation]int, len(after))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for c, id := range after {
		group.Go(func() error {
			n, err := in.entries.CountDocuments(ctx, bson.D{
				{Key: "user", Value: user}, {Key: "class", Value: im.ClassUnread}, {Key: "conversation", Value: c},
				{Key: "_id", Value: bson.D{{Key: "$gt", Value: key(im.EntryKey{User: user, ID: id})}}},
			}, options.Count().SetLimit(int64(most)))
			mu.Lock()
			defer mu.Unlock()
			unread[c] = int(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, failed(err, "counting what %s has not read", user)
	}
	return unread, nil
}
