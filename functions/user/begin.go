package user

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type sessionCreator interface {
	// CreateSession adds a session of a user who still has the password of a
	// hash (NotFound: not any more). It ends and returns an earlier one of the
	// device, and those that a user of more than most has not used for longest.
	CreateSession(ctx context.Context, s im.Session, passwordHash string, refreshHash []byte, expires time.Time, most int) (ended []string, err error)
}

// SignedIn is what a device is given that signs in.
type SignedIn = signedIn

// Beginner begins sessions of users who have proved who they are.
type Beginner struct {
	sessions sessionCreator
	tokens   tokens
	proofs   proofs
	most     int // sessions of a user
	end      *ender
}

// Lane returns the lane in which a device that shows a proof tries codes of the
// second factor of a user, whose password has a hash; "" if it is a stranger.
func (b *Beginner) Lane(proof, user, passwordHash string) string {
	return b.proofs.lane(proof, user, passwordHash)
}

// Begin begins a session of a device of a user, whose password has the given
// hash, "" if they have none. NotFound: the user is not there any more, or has
// another password by now.
func (b *Beginner) Begin(ctx context.Context, u im.User, passwordHash, device, platform string) (SignedIn, error) {
	s := im.Session{ID: im.NewID(), User: u.ID, Device: device, Platform: platform, Created: im.Now()}
	s.Proved = s.Created
	refresh := b.tokens.newRefresh()
	ended, err := b.sessions.CreateSession(ctx, s, passwordHash, refresh.hash, refresh.expires, b.most)
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	b.end.aside(ctx, frame.CloseSignedOut, u.ID, ended...)
	t, err := b.tokens.issue(s, refresh)
	return signedIn{User: u, issued: t, Proof: b.proofs.issue(u.ID, passwordHash)}, err
}
