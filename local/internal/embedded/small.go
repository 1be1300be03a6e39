//go:build tidings_small

package embedded

import (
	"context"
	"errors"
)

// S3 reports that this program has none.
func S3(context.Context, Config) (*Server, error) {
	return nil, errors.New("this program was compiled with the tag tidings_small, without versitygw: compile it without")
}
