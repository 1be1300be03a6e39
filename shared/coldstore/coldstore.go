// Package coldstore keeps messages in objects of any store that speaks S3, as
// Parquet files that other tools can read. It does not know which messages are
// to be there, nor who may read them: the catalog of what is where is kept in
// PostgreSQL, by others.
//
// Its errors have a kind wherever one is known. Unavailable means that the same
// call may succeed later.
package coldstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/tidings-im/tidings/shared/dependency"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL     = proc.Setting{Name: "ARCHIVE_URL", Doc: "where history is archived: a bucket of any store that speaks S3, and a folder in it if one likes, such as https://key:secret@s3.example.org/bucket/folder?region=us-east-1; without it nothing is", Secret: true}
	settingTimeout = proc.Setting{Name: "ARCHIVE_TIMEOUT", Default: "10s", Doc: "how long the object store may take over a request before it is given up"}
)

// defaultRegion is that of stores which have none.
const defaultRegion = "us-east-1"

// A Store is a folder of a bucket. It is safe for concurrent use.
type Store struct {
	client  *s3.Client
	bucket  string
	prefix  string // "", or ends with a slash
	timeout time.Duration
}

// Configured reports whether ARCHIVE_URL is set.
func Configured(env *proc.Env) bool { return env.Settings().String(settingURL) != "" }

// Open returns the process's store at ARCHIVE_URL. Nothing is connected yet.
func Open(_ context.Context, env *proc.Env) (*Store, error) {
	env.Uses("s3")
	set := env.Settings()
	at, timeout := set.String(settingURL), set.Duration(settingTimeout)
	if err := set.Err(); err != nil {
		return nil, err
	}
	if at == "" {
		return nil, fmt.Errorf("setting %s: is not set (%s)", settingURL.Name, settingURL.Doc)
	}
	return proc.Share(env, "coldstore "+at, func() (*Store, func() error, error) {
		options, bucket, prefix, err := parse(at)
		if err != nil {
			return nil, nil, err
		}
		transport := &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		}
		options.HTTPClient = &http.Client{Transport: transport}
		return &Store{client: s3.New(options), bucket: bucket, prefix: prefix, timeout: timeout},
			func() error { transport.CloseIdleConnections(); return nil }, nil
	})
}

// parse reads a URL, which no error may quote, for a secret is in it.
func parse(at string) (options s3.Options, bucket, prefix string, err error) {
	u, err := url.Parse(at)
	if err == nil {
		bucket, prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User == nil || bucket == "" {
		return options, "", "", fmt.Errorf("setting %s: is not a URL of a bucket (%s)", settingURL.Name, settingURL.Doc)
	}
	if prefix != "" {
		prefix += "/"
	}
	secret, _ := u.User.Password()
	return s3.Options{
		BaseEndpoint:     aws.String(u.Scheme + "://" + u.Host),
		Region:           cmp.Or(u.Query().Get("region"), defaultRegion),
		Credentials:      credentials.NewStaticCredentialsProvider(u.User.Username(), secret, ""),
		UsePathStyle:     true,
		RetryMaxAttempts: 3,
	}, bucket, prefix, nil
}

// folder returns where the objects of a span are, such as history/2026-01-01/.
func (s *Store) folder(span im.Time) string {
	return s.prefix + "history/" + span.Std().Format("2006-01-02T150405") + "/"
}

// Check reports whether the bucket is there and may be used.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	return failed(err, "looking at the bucket of the archive")
}

// EnsureBucket makes the bucket at ARCHIVE_URL if there is none. To do it again
// does no harm; without ARCHIVE_URL there is nothing to do.
func EnsureBucket(ctx context.Context, env *proc.Env) error {
	if !Configured(env) {
		return nil
	}
	s, err := Open(ctx, env)
	if err != nil {
		return err
	}
	if err := s.Check(ctx); im.KindOf(err) != im.NotFound {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	in := &s3.CreateBucketInput{Bucket: &s.bucket}
	if region := s.client.Options().Region; region != defaultRegion { // which it is by itself, and may not be named
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err = s.client.CreateBucket(ctx, in)
	var owned *types.BucketAlreadyOwnedByYou
	if errors.As(err, &owned) { // meanwhile
		return nil
	}
	return failed(err, "making the bucket of the archive")
}

func (s *Store) put(ctx context.Context, key string, file []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(file), ContentType: aws.String("application/vnd.apache.parquet"),
	})
	return failed(err, "writing %s to the archive", key)
}

// fetch returns so many bytes of an object.
func (s *Store) fetch(ctx context.Context, key string, at, size int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+size-1)),
	})
	if err != nil {
		return nil, failed(err, "reading %s of the archive", key)
	}
	defer out.Body.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(out.Body, b); err != nil {
		return nil, failed(err, "reading %s of the archive", key)
	}
	return b, nil
}

// List returns the names of all objects of a span, whether anybody knows of
// them or not.
func (s *Store) List(ctx context.Context, span im.Time) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.folder(span))})
	for pages.HasMorePages() {
		within, cancel := context.WithTimeout(ctx, s.timeout)
		page, err := pages.NextPage(within)
		cancel()
		if err != nil {
			return nil, failed(err, "listing objects of the archive")
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys, nil
}

// Delete deletes an object. That there is none is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if im.KindOf(failed(err, "")) == im.NotFound {
		return nil
	}
	return failed(err, "deleting %s of the archive", key)
}

// failed wraps err, of what was being done, and gives it its kind. A nil err
// stays nil.
func failed(err error, format string, args ...any) error { return product.Wrap(err, format, args...) }

const unreadable = "this part of the history cannot be read now"

var product = dependency.Product{Name: "archive", Kind: kindOf, Shown: map[im.Kind]string{
	im.Unavailable: "the archive cannot be reached just now; try again",
	im.Internal:    unreadable,
	im.Conflict:    unreadable,
	im.NotFound:    unreadable,
}}

func kindOf(err error) im.Kind {
	var api smithy.APIError
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &status) {
		return im.Unavailable
	}
	return dependency.S3(status.HTTPStatusCode(), api.ErrorCode())
}
