package file

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/picture"
)

const avatarSide = 512 // pixels

type avatarStore interface {
	// File returns a file, in whatever state. NotFound: there is none.
	File(ctx context.Context, id string) (im.StoredFile, error)
	// AddAvatar notes that a picture of a user is about to be in the store. It
	// is nobody's unless SetAvatar comes soon.
	AddAvatar(ctx context.Context, key, user string) error
	// SetAvatar makes a picture that AddAvatar noted, or with the key "" none,
	// the avatar of a user, and returns the user.
	SetAvatar(ctx context.Context, key, url, user string) (im.Self, error)
}

type avatarBucket interface {
	reader
	// Stat returns what the store says of an object.
	Stat(ctx context.Context, key string) (im.Object, error)
	// Put makes an object that anybody may keep for good.
	Put(ctx context.Context, key string, b []byte, typ string) error
	// PublicURL returns where anybody gets an object.
	PublicURL(ctx context.Context, key string) (string, error)
}

type avatarRequest struct {
	File string `json:"file"` // "" is none
}

type avatarSetter struct {
	files avatarStore
	store avatarBucket
	limit limiter
	slots chan struct{} // held while a picture is in memory
}

// call makes a picture of the caller's their avatar: the middle of it, in a
// size that is enough everywhere, without anything that the camera wrote beside
// it, at an address that nobody can guess and anybody may read who has it.
func (a *avatarSetter) call(ctx context.Context, caller im.Caller, in avatarRequest) (im.Self, error) {
	if in.File == "" {
		u, err := a.files.SetAvatar(ctx, "", "", caller.User)
		return u, err
	}
	if err := checkID(in.File); err != nil {
		return im.Self{}, err
	}
	if err := a.limit.Allow(ctx, caller.User); err != nil {
		return im.Self{}, err
	}
	f, err := a.files.File(ctx, in.File)
	switch {
	case err != nil:
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	case f.Owner != caller.User || f.State == im.FileRemoved:
		return im.Self{}, errGone
	case f.State != im.FileComplete:
		return im.Self{}, im.Errorf(im.Conflict, "the file is not complete: call file-complete first")
	case f.Size > picture.MaxBytes:
		return im.Self{}, im.Errorf(im.TooLarge, "an avatar is made of a picture of at most %d bytes", picture.MaxBytes)
	}
	square, err := a.square(ctx, f)
	if err != nil {
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	}
	key := avatars + strings.ToLower(rand.Text()) + ".jpg"
	if err := a.files.AddAvatar(ctx, key, caller.User); err != nil {
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	}
	if err := a.store.Put(ctx, key, square, "image/jpeg"); err != nil {
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	}
	url, err := a.store.PublicURL(ctx, key)
	if err != nil {
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	}
	u, err := a.files.SetAvatar(ctx, key, url, caller.User)
	if err != nil {
		return im.Self{}, fmt.Errorf("setting an avatar: %w", err)
	}
	return u, nil
}

func (a *avatarSetter) square(ctx context.Context, f im.StoredFile) ([]byte, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return nil, im.Wrap(im.Unavailable, ctx.Err(), "too many pictures at once: try again")
	}
	o, err := a.store.Stat(ctx, kept+f.ID)
	if err != nil {
		return nil, err
	}
	body, err := a.store.Read(ctx, o, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, picture.MaxBytes))
	if err != nil {
		return nil, err
	}
	return picture.Square(ctx, b, f.Type, avatarSide)
}
