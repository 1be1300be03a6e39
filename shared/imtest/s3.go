package imtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

var sharedS3 = shared{kind: s3}

// S3 returns the URL of an empty bucket, which is removed when the test ends,
// with what is in it: http://key:secret@host:port/bucket, as the setting S3_URL
// takes it. The store is versitygw unless the environment names one, as
// http://key:secret@host:port.
func S3(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TIDINGS_TEST_S3_URL")
	if server == "" {
		var err error
		if server, err = sharedS3.start(); err != nil {
			t.Fatal(err)
		}
	}
	own, drop, err := makeBucket(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Errorf("removing a bucket: %v", err)
		}
	})
	return own
}

// makeBucket makes a bucket in the store of a URL. It returns its URL and what
// removes it.
func makeBucket(server string) (own string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("reading the URL of S3: %w", err)
	}
	secret, _ := u.User.Password()
	client, err := minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(u.User.Username(), secret, ""),
		Secure:       u.Scheme == "https",
		Region:       u.Query().Get("region"),
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return "", nil, fmt.Errorf("opening S3: %w", err)
	}
	name := Name()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{}); err != nil {
		return "", nil, fmt.Errorf("making a bucket: %w", err)
	}
	u.Path = "/" + name
	return u.String(), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), startTime)
		defer cancel()
		for up := range client.ListIncompleteUploads(ctx, name, "", true) {
			if up.Err == nil {
				up.Err = client.RemoveIncompleteUpload(ctx, name, up.Key)
			}
			if up.Err != nil {
				return up.Err
			}
		}
		objects := client.ListObjects(ctx, name, minio.ListObjectsOptions{Recursive: true})
		for gone := range client.RemoveObjects(ctx, name, objects, minio.RemoveObjectsOptions{}) {
			return gone.Err
		}
		return client.RemoveBucket(ctx, name)
	}, nil
}
