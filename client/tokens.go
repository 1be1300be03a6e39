package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// errStore marks what a Store failed to keep: the client cannot go on without.
var errStore = errors.New("the client's store")

// A keeper keeps the tokens of a client, and gets new ones, one at a time: a
// refresh token that is used twice ends the session.
type keeper struct {
	api   *API
	store Store
	stop  context.CancelCauseFunc // of the client

	lock    chan struct{} // holds an item while somebody reads or writes what follows
	now     Tokens
	expires time.Time // of the access token, by this machine's clock
	due     time.Time // when to get the next one
}

func newKeeper(api *API, store Store, stop context.CancelCauseFunc) *keeper {
	return &keeper{api: api, store: store, stop: stop, lock: make(chan struct{}, 1)}
}

// signedOut reports whether a refresh token was refused for good.
func signedOut(err error) bool {
	return errors.Is(err, im.Unauthenticated) || errors.Is(err, im.Denied)
}

// adopt makes t the tokens of the client, unless err.
func (k *keeper) adopt(ctx context.Context, t Tokens, err error) error {
	if err != nil {
		return err
	}
	if t.User.ID == "" {
		t.User.ID = k.now.User.ID
	}
	if err := k.store.SaveSession(ctx, t.User.ID, t.RefreshToken); err != nil {
		return fmt.Errorf("%w: keeping the session: %w", errStore, err)
	}
	if keep, ok := k.store.(ProofStore); ok && t.DeviceProof != "" {
		if err := keep.SaveDeviceProof(ctx, t.DeviceProof); err != nil {
			return fmt.Errorf("%w: keeping the proof of the device: %w", errStore, err)
		}
	}
	life := t.life
	if life <= 0 {
		life = time.Until(t.ExpiresAt.Std())
	}
	k.now = t
	k.expires = time.Now().Add(life)
	// Between 70 and 80 % of its life: what started together drifts apart.
	k.due = time.Now().Add(life*7/10 + rand.N(max(life/10, 1)))
	if t.RefreshToken == "" {
		k.due = k.expires
	}
	return nil
}

// access returns an access token that is good as far as can be told here.
func (k *keeper) access(ctx context.Context) (string, error) {
	if err := k.hold(ctx); err != nil {
		return "", err
	}
	defer k.release()
	if time.Now().Before(k.expires) {
		return k.now.AccessToken, nil
	}
	return k.refresh(ctx)
}

// renew returns an access token newer than old.
func (k *keeper) renew(ctx context.Context, old string) (string, error) {
	if err := k.hold(ctx); err != nil {
		return "", err
	}
	defer k.release()
	if k.now.AccessToken != old {
		return k.now.AccessToken, nil
	}
	return k.refresh(ctx)
}

// current returns the access token and when it should be replaced.
func (k *keeper) current(ctx context.Context) (string, time.Time, error) {
	if err := k.hold(ctx); err != nil {
		return "", time.Time{}, err
	}
	defer k.release()
	return k.now.AccessToken, k.due, nil
}

// refresh gets new tokens. It outlives ctx: were the answer missed, the old
// refresh token would be spent and the new one not known.
func (k *keeper) refresh(ctx context.Context) (string, error) {
	if k.now.RefreshToken == "" {
		err := im.Errorf(im.Unauthenticated, "the access token has expired and there is no refresh token")
		k.stop(&StoppedError{Close: frame.CloseSignedOut, Err: err})
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	t, err := k.api.Refresh(ctx, k.now.RefreshToken)
	err = k.adopt(ctx, t, err)
	switch {
	case errors.Is(err, errStore):
		k.stop(err)
	case signedOut(err):
		k.stop(&StoppedError{Close: frame.CloseSignedOut, Err: err})
	}
	if err != nil {
		return "", fmt.Errorf("refreshing the access token: %w", err)
	}
	return k.now.AccessToken, nil
}

func (k *keeper) hold(ctx context.Context) error {
	select {
	case k.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *keeper) release() { <-k.lock }
