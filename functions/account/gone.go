package account

import (
	"errors"

	"github.com/tidings-im/tidings/shared/im"
)

// gone says to a caller who is not found that they are nobody any more.
func gone(err error) error {
	if errors.Is(err, im.NotFound) {
		return im.Wrap(im.Unauthenticated, err, "this user has been deleted")
	}
	return err
}
