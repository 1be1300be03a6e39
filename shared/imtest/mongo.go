package imtest

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

var sharedMongo = shared{kind: mongodb, args: func() ([]string, error) {
	server, err := postgresURL()
	if err != nil {
		return nil, err
	}
	// It is dropped with the server. One that the environment names is left with it.
	own, _, err := makeDatabase(server, "")
	return []string{"--postgres", own}, err
}}

// Mongo returns the URL of a database that does not exist yet, and is dropped
// when the test ends. The server is FerretDB unless the environment names one.
func Mongo(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TIDINGS_TEST_MONGODB_URL")
	if server == "" {
		var err error
		if server, err = sharedMongo.start(); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("reading the URL of MongoDB: %v", err)
	}
	name := Name()
	if q := u.Query(); u.User != nil && !q.Has("authSource") { // which the path names otherwise
		q.Set("authSource", cmp.Or(strings.Trim(u.Path, "/"), "admin"))
		u.RawQuery = q.Encode()
	}
	u.Path = "/" + name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		client, err := mongo.Connect(options.Client().ApplyURI(server))
		if err != nil {
			t.Errorf("connecting to MongoDB: %v", err)
			return
		}
		defer client.Disconnect(ctx)
		if err := client.Database(name).Drop(ctx); err != nil {
			t.Errorf("dropping the database %s of MongoDB: %v", name, err)
		}
	})
	return u.String()
}
