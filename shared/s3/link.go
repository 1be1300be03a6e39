package s3

import (
	"context"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// checksum is the header by which the store itself checks what it is sent
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
const checksum = "x-amz-checksum-sha256"

// PutLink returns a link to send an object by: this many bytes of this SHA-256.
// The store refuses another number; whether it refused another hash is seen by
// what Stat returns.
func (s *Store) PutLink(ctx context.Context, key string, size int64, sum []byte, life time.Duration) (im.Link, error) {
	return s.sendLink(ctx, key, nil, map[string]string{
		"Content-Length": strconv.FormatInt(size, 10),
		checksum:         base64.StdEncoding.EncodeToString(sum),
	}, life)
}

// PartLink returns a link to send a part of an upload by: this many bytes.
func (s *Store) PartLink(ctx context.Context, key, upload string, number int, size int64, life time.Duration) (im.Link, error) {
	return s.sendLink(ctx, key, url.Values{"uploadId": {upload}, "partNumber": {strconv.Itoa(number)}}, map[string]string{
		"Content-Length": strconv.FormatInt(size, 10),
	}, life)
}

func (s *Store) sendLink(ctx context.Context, key string, query url.Values, headers map[string]string, life time.Duration) (im.Link, error) {
	signed := make(http.Header, len(headers))
	for k, v := range headers {
		signed.Set(k, v)
	}
	expires := expiry(life)
	u, err := s.public.PresignHeader(ctx, http.MethodPut, s.bucket, key, life, query, signed)
	if err != nil {
		return im.Link{}, failed(err, "signing a link to send %s by", key)
	}
	// Clients set it themselves, and those of browsers may not do it otherwise.
	delete(headers, "Content-Length")
	return im.Link{Method: http.MethodPut, URL: u.String(), Headers: headers, Expires: expires}, nil
}

// GetLink returns a link to get an object by, whole or in ranges, under a name
// and a media type: to be shown, if inline, and else to be saved.
func (s *Store) GetLink(ctx context.Context, key, name, typ string, inline bool, life time.Duration) (im.Link, error) {
	disposition := "attachment"
	if inline {
		disposition = "inline"
	}
	query := url.Values{
		"response-content-type":        {typ},
		"response-content-disposition": {mime.FormatMediaType(disposition, map[string]string{"filename": name})}, // as RFC 6266 and RFC 8187 have it
		"response-cache-control":       {"private, immutable, max-age=" + strconv.Itoa(int(life.Seconds()))},
	}
	expires := expiry(life)
	u, err := s.public.PresignedGetObject(ctx, s.bucket, key, life, query)
	if err != nil {
		return im.Link{}, failed(err, "signing a link to get %s by", key)
	}
	return im.Link{Method: http.MethodGet, URL: u.String(), Expires: expires}, nil
}

// expiry returns when a link that is signed now ends. The signature has the
// second that it is made in.
func expiry(life time.Duration) im.Time { return im.TimeOf(time.Now().Truncate(time.Second).Add(life)) }

// PublicURL returns where anybody gets an object of those that EnsureBucket
// makes public.
func (s *Store) PublicURL(ctx context.Context, key string) (string, error) {
	u, err := s.public.PresignedGetObject(ctx, s.bucket, key, time.Minute, nil)
	if err != nil {
		return "", failed(err, "finding the address of %s", key)
	}
	u.RawQuery = ""
	return u.String(), nil
}
