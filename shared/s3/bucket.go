package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"

	"github.com/tidings-im/tidings/shared/proc"
)

// Public is what the keys of objects begin with that anybody may get.
const Public = "avatars/"

// EnsureBucket makes the bucket at S3_URL if there is none, lets anybody get
// what is public of it, and lets browsers follow links of any site. A store
// that has no such rules, or does not let these keys set them, is left as it is,
// and the log says so: then somebody has to see to it. To do it again does no
// harm. Without S3_URL there is nothing to do.
func EnsureBucket(ctx context.Context, env *proc.Env) error {
	optional := settingURL
	optional.Need = false
	if set := env.Settings(); set.String(optional) == "" {
		return set.Err()
	}
	s, err := Open(ctx, env)
	if err != nil {
		return err
	}
	there, err := s.core.BucketExists(ctx, s.bucket)
	if err != nil {
		return failed(err, "asking for bucket %s", s.bucket)
	}
	if !there {
		err := s.core.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{})
		switch minio.ToErrorResponse(err).Code {
		case "BucketAlreadyOwnedByYou", "BucketAlreadyExists": // meanwhile
			err = nil
		}
		if err != nil {
			return failed(err, "making bucket %s", s.bucket)
		}
	}
	if err := s.core.SetBucketPolicy(ctx, s.bucket, policy(s.bucket)); err != nil {
		if err := s.unruled(ctx, env, err, "let anybody get what is under "+Public); err != nil {
			return err
		}
	}
	if err := s.core.SetBucketCors(ctx, s.bucket, cors.NewConfig([]cors.Rule{{
		AllowedOrigin: []string{"*"},
		AllowedMethod: []string{http.MethodGet, http.MethodHead, http.MethodPut},
		AllowedHeader: []string{"*"},
		ExposeHeader:  []string{"ETag"},
		MaxAgeSeconds: 3600,
	}})); err != nil {
		return s.unruled(ctx, env, err, "let browsers of any origin GET, HEAD and PUT, and show them ETag")
	}
	return nil
}

// unruled logs what the store does not let us do, and returns other errors.
func (s *Store) unruled(ctx context.Context, env *proc.Env, err error, what string) error {
	switch e := minio.ToErrorResponse(err); {
	case e.Code == "NotImplemented", e.Code == "AccessDenied", e.Code == "MethodNotAllowed", e.StatusCode == http.StatusNotImplemented:
		env.Log.WarnContext(ctx, "a rule of the bucket has to be set by hand", "bucket", s.bucket, "rule", what, "err", err)
		return nil
	}
	return failed(err, "setting a rule of bucket %s", s.bucket)
}

func policy(bucket string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"public","Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/%s*"]}]}`, bucket, Public)
}
