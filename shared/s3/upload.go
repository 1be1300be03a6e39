package s3

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/tidings-im/tidings/shared/im"
)

// MaxParts is the most parts of an upload here, which are listed in one answer.
// S3 itself has 10,000.
const MaxParts = 1000

// StartUpload begins an upload in parts and returns its id.
func (s *Store) StartUpload(ctx context.Context, key, typ string) (string, error) {
	id, err := s.core.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{ContentType: typ})
	return id, failed(err, "starting the upload of %s", key)
}

// Parts returns those parts of an upload that the store has, in their order.
// NotFound: there is no such upload, or not any more.
func (s *Store) Parts(ctx context.Context, key, upload string) ([]im.UploadPart, error) {
	list, err := s.core.ListObjectParts(ctx, s.bucket, key, upload, 0, MaxParts)
	if err != nil {
		return nil, failed(err, "listing the parts of %s", key)
	}
	parts := make([]im.UploadPart, len(list.ObjectParts))
	for i, p := range list.ObjectParts {
		parts[i] = im.UploadPart{Number: p.PartNumber, Size: p.Size, ETag: p.ETag}
	}
	return parts, nil
}

// CompleteUpload makes one object of the parts of an upload. NotFound: there is
// no such upload, or not any more; a store may also take it for done.
func (s *Store) CompleteUpload(ctx context.Context, key, upload string, parts []im.UploadPart) error {
	all := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		all[i] = minio.CompletePart{PartNumber: p.Number, ETag: p.ETag}
	}
	_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, key, upload, all, minio.PutObjectOptions{})
	return failed(err, "completing the upload of %s", key)
}

// AbortUpload ends an upload and removes its parts. One that is not there is no
// error.
func (s *Store) AbortUpload(ctx context.Context, key, upload string) error {
	err := failed(s.core.AbortMultipartUpload(ctx, s.bucket, key, upload), "ending the upload of %s", key)
	if errors.Is(err, im.NotFound) {
		return nil
	}
	return err
}

// Uploads returns at most limit uploads under prefix that were begun age ago, in
// the order of their keys, of those after one key; last is the key to go on
// after, "" if there are no more.
//
// It asks for all of the bucket: MinIO takes a prefix for the key of one object.
func (s *Store) Uploads(ctx context.Context, prefix, after string, age time.Duration, limit int) (old []im.Upload, last string, err error) {
	for key, upload := after, ""; ; {
		list, err := s.core.ListMultipartUploads(ctx, s.bucket, "", key, upload, "", 1000)
		if err != nil {
			return nil, "", failed(err, "listing uploads under %s", prefix)
		}
		for _, u := range list.Uploads {
			if u.Key <= after { // of a store that does not know where to begin
				continue
			}
			if strings.HasPrefix(u.Key, prefix) && time.Since(u.Initiated) >= age {
				if old = append(old, im.Upload{Key: u.Key, ID: u.UploadID}); len(old) == limit {
					return old, u.Key, nil
				}
			}
		}
		if !list.IsTruncated || list.NextKeyMarker == key && list.NextUploadIDMarker == upload {
			return old, "", nil
		}
		key, upload = list.NextKeyMarker, list.NextUploadIDMarker
	}
}
