package message

import (
	"context"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// maxEmoji is the most different emoji on a message.
const maxEmoji = 20

type reactor interface {
	// Emoji returns the different emoji on a message.
	Emoji(ctx context.Context, c im.Conversation, message string) ([]string, error)
	// React puts an emoji of user on a message or takes it off, and reports
	// whether that changed anything.
	React(ctx context.Context, c im.Conversation, message, user, emoji string, on bool) (changed bool, err error)
	// ClearReactions takes all emoji off a message.
	ClearReactions(ctx context.Context, c im.Conversation, message string) error
}

type reactRequest struct {
	target
	Emoji string `json:"emoji"`
	On    *bool  `json:"on"`
}

func (in reactRequest) check() error {
	if err := in.target.check(); err != nil {
		return err
	}
	if in.On == nil {
		return im.Errorf(im.Invalid, `"on" is true to put the emoji on the message and false to take it off`)
	}
	return checkEmoji(in.Emoji)
}

// react puts an emoji of the caller on a message, or takes it off. Everybody
// who may write where it is may. It is no revision of the message.
func react(change changer, policy string) func(context.Context, im.Caller, reactRequest) (struct{}, error) {
	return func(ctx context.Context, caller im.Caller, in reactRequest) (struct{}, error) {
		if err := in.check(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, await(ctx, caller.User, func() error {
			return change(ctx, func(ctx context.Context, tx tx) error {
				if err := mayWrite(ctx, tx, policy, caller.User, in.Conversation); err != nil {
					return err
				}
				m, err := in.lock(ctx, tx)
				switch {
				case err != nil:
					return err
				case m.Kind == im.KindNotice:
					return im.Errorf(im.Denied, "a notice takes no reactions")
				case m.Recalled:
					return im.Errorf(im.Conflict, "the message was recalled: it takes no reactions any more")
				}
				if *in.On {
					if err := room(ctx, tx, in); err != nil {
						return err
					}
				}
				changed, err := tx.React(ctx, in.Conversation, in.Message, caller.User, in.Emoji, *in.On)
				if err != nil || !changed {
					return err
				}
				n, err := im.NewNotice(im.MessageReacted, in.Conversation, caller.User, reacted{in.Message, in.Emoji, *in.On})
				n.Quiet = true
				tx.Notify(n)
				return err
			})
		})
	}
}

// room reports Conflict if another emoji would be one too many.
func room(ctx context.Context, tx tx, in reactRequest) error {
	had, err := tx.Emoji(ctx, in.Conversation, in.Message)
	if err != nil {
		return err
	}
	if len(had) >= maxEmoji && !slices.Contains(had, in.Emoji) {
		return im.Errorf(im.Conflict, "there are %d different emoji on the message already: take one of them", maxEmoji)
	}
	return nil
}

// reacted is what the notice of a reaction says.
type reacted struct {
	Message string `json:"message"`
	Emoji   string `json:"emoji"`
	On      bool   `json:"on"`
}
