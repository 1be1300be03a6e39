// Package s3 keeps files in one bucket of an object store that speaks as Amazon
// S3 does. Whoever is to send or get a file is handed a link to the store, so
// that no byte of it flows through Tidings. It knows keys and bytes; it does
// not know whose they are.
//
// Its errors have a kind wherever one is known: NotFound, Conflict for what has
// changed meanwhile, Unavailable for what may succeed later.
package s3

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tidings-im/tidings/shared/dependency"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL    = proc.Setting{Name: "S3_URL", Doc: "object store for files, with the keys and the bucket: https://access-key:secret-key@host:port/bucket?region=eu-central-1 (us-east-1 if no region is said)", Need: true, Secret: true}
	settingPublic = proc.Setting{Name: "S3_PUBLIC_URL", Doc: "scheme and host by which clients reach the object store, such as https://files.example.org, if they are not those of S3_URL; links are signed for it, so what is between must leave the Host header as it is"}
)

// retries is how often a request is tried, while its context lasts.
const retries = 3

// A Store is one bucket. It is safe for concurrent use.
type Store struct {
	core   minio.Core
	public *minio.Client // signs what clients are handed
	bucket string
}

// Open returns the process's store at S3_URL. Nothing is connected yet.
func Open(_ context.Context, env *proc.Env) (*Store, error) {
	env.Uses("s3")
	set := env.Settings()
	at, public := set.String(settingURL), set.String(settingPublic)
	if err := set.Err(); err != nil {
		return nil, err
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.User == nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") == "" || strings.Count(strings.Trim(u.Path, "/"), "/") > 0 {
		return nil, fmt.Errorf("setting %s: is not %s", settingURL.Name, settingURL.Doc) // the value has a secret in it
	}
	outside := u
	if public != "" {
		if outside, err = url.Parse(public); err != nil || outside.Host == "" || outside.Scheme != "http" && outside.Scheme != "https" || strings.Trim(outside.Path, "/") != "" {
			return nil, fmt.Errorf("setting %s: %q is not %s", settingPublic.Name, public, settingPublic.Doc)
		}
	}
	return proc.Share(env, "s3 "+at+" "+public, func() (*Store, func() error, error) {
		client, err := open(u, u)
		if err != nil {
			return nil, nil, err
		}
		signer, err := open(u, outside)
		if err != nil {
			return nil, nil, err
		}
		return &Store{core: minio.Core{Client: client}, public: signer, bucket: strings.Trim(u.Path, "/")}, nil, nil
	})
}

// open returns a client for the store that settings name, at the host of at.
func open(settings, at *url.URL) (*minio.Client, error) {
	secret, _ := settings.User.Password()
	region := settings.Query().Get("region")
	if region == "" {
		region = "us-east-1" // known, so that nothing has to be asked in order to sign
	}
	client, err := minio.New(at.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(settings.User.Username(), secret, ""),
		Secure:     at.Scheme == "https",
		Region:     region,
		MaxRetries: retries,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the object store: %w", err)
	}
	return client, nil
}

// failed wraps err, of what was being done, and gives it its kind.
func failed(err error, format string, args ...any) error { return product.Wrap(err, format, args...) }

var product = dependency.Product{Name: "s3", Kind: kindOf, Shown: map[im.Kind]string{
	im.Unavailable: "the store of files cannot do this just now; try again",
	im.Internal:    "the store of files could not do this",
	im.Conflict:    "the file was changed meanwhile; try again",
	im.NotFound:    "there is no such file",
}}

func kindOf(err error) im.Kind {
	e := minio.ToErrorResponse(err)
	if dependency.Unanswered(err) || e.Code == "NoSuchBucket" { // which somebody may be making
		return im.Unavailable
	}
	return dependency.S3(e.StatusCode, e.Code)
}
