package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/tidings-im/tidings/shared/im"
)

// Stat returns what the store says of an object. NotFound: there is none.
func (s *Store) Stat(ctx context.Context, key string) (im.Object, error) {
	info, err := s.core.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return im.Object{}, failed(err, "asking for object %s", key)
	}
	o := im.Object{Key: key, Size: info.Size, ETag: info.ETag}
	if sum, err := base64.StdEncoding.DecodeString(info.ChecksumSHA256); err == nil && len(sum) == 32 && !strings.EqualFold(info.ChecksumMode, "COMPOSITE") {
		o.SHA256 = sum
	}
	return o, nil
}

// Read returns the bytes of an object from the first on, or the first of them
// if most is not 0. Conflict: those that the ETag names are not there any more.
func (s *Store) Read(ctx context.Context, o im.Object, most int64) (io.ReadCloser, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetMatchETag(o.ETag); err != nil {
		return nil, failed(err, "reading object %s", o.Key)
	}
	if most > 0 && most < o.Size {
		if err := opts.SetRange(0, most-1); err != nil {
			return nil, failed(err, "reading object %s", o.Key)
		}
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, o.Key, opts)
	if err != nil {
		return nil, failed(err, "reading object %s", o.Key)
	}
	return &reading{body, o.Key}, nil
}

// reading gives the errors of reading their kinds.
type reading struct {
	io.ReadCloser
	key string
}

func (r *reading) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		err = failed(err, "reading object %s", r.key)
	}
	return n, err
}

// Copy makes an object under a key of the bytes that o has. The store does it
// by itself. Conflict: they are not there any more.
func (s *Store) Copy(ctx context.Context, o im.Object, key, typ string) error {
	_, err := s.core.Client.CopyObject(ctx,
		minio.CopyDestOptions{Bucket: s.bucket, Object: key, ReplaceMetadata: true, UserMetadata: map[string]string{"Content-Type": typ}},
		minio.CopySrcOptions{Bucket: s.bucket, Object: o.Key, MatchETag: o.ETag})
	return failed(err, "copying object %s to %s", o.Key, key)
}

// Put makes an object that anybody may keep for good.
func (s *Store) Put(ctx context.Context, key string, b []byte, typ string) error {
	_, err := s.core.Client.PutObject(ctx, s.bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{
		ContentType: typ, CacheControl: "public, immutable, max-age=31536000",
		DisableMultipart: true,
	})
	return failed(err, "writing object %s", key)
}

// Remove removes an object. One that is not there is no error.
func (s *Store) Remove(ctx context.Context, key string) error {
	return failed(s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}), "removing object %s", key)
}

// List returns the keys of at most limit objects whose keys begin with prefix,
// in their order, after one of them, and those only that were not touched for
// age; last is the key to go on after, "" if there are no more.
func (s *Store) List(ctx context.Context, prefix, after string, age time.Duration, limit int) (keys []string, last string, err error) {
	page, err := s.core.ListObjectsV2(s.bucket, prefix, after, "", "", limit)
	if err != nil {
		return nil, "", failed(err, "listing objects under %s", prefix)
	}
	for _, o := range page.Contents {
		if time.Since(o.LastModified) >= age {
			keys = append(keys, o.Key)
		}
		last = o.Key
	}
	if !page.IsTruncated {
		last = ""
	}
	return keys, last, ctx.Err()
}
