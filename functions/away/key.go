package away

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

type nothing struct{}

type keyAnswer struct {
	Key string `json:"key"`
}

// key returns the key by which browsers subscribe.
func key(public string) func(context.Context, im.Caller, nothing) (keyAnswer, error) {
	return func(context.Context, im.Caller, nothing) (keyAnswer, error) {
		if public == "" {
			return keyAnswer{}, noWebPush()
		}
		return keyAnswer{public}, nil
	}
}

func noWebPush() error { return im.Errorf(im.NotFound, "there is no Web Push here") }
