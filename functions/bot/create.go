package bot

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/im"
)

type botCreator interface {
	// CreateBot adds a bot of an owner, and its first token. Conflict: the
	// account is taken. Denied: the owner may have no more.
	CreateBot(ctx context.Context, owner string, b im.Bot, first im.BotToken, hash []byte, most int) error
}

type limiter interface {
	// Allow counts that something is done once more. Overloaded: too often.
	Allow(ctx context.Context, of string) error
}

type createRequest struct {
	Account string     `json:"account"`
	Name    string     `json:"name"`
	Bio     string     `json:"bio"`
	Scopes  []im.Scope `json:"scopes"` // of the first token
}

// created is a bot with its first token.
type created struct {
	Bot   im.Bot `json:"bot"`
	ID    string `json:"token_id"`
	Token string `json:"token"`
}

// ShownOnce says that the answer is kept nowhere.
func (created) ShownOnce() {}

// AuditedAs returns the bot, for the security log.
func (c created) AuditedAs() im.Caller { return im.Caller{User: c.Bot.ID} }

type marker interface {
	// MarkBot notes that a bot of an owner is new.
	MarkBot(ctx context.Context, bot, owner string) error
}

type creator struct {
	bots      botCreator
	limit     limiter
	names     user.Names
	newcomers marker
	most      int // bots of an owner
}

func (c *creator) call(ctx context.Context, who im.Caller, in createRequest) (created, error) {
	in.Account = strings.ToLower(in.Account)
	if err := cmp.Or(im.CheckAccount(in.Account), im.CheckName(in.Name), im.CheckBio(in.Bio), c.names.Check(in.Account)); err != nil {
		return created{}, err
	}
	scopes, err := im.NormalScopes(in.Scopes)
	if err != nil {
		return created{}, err
	}
	if err := c.limit.Allow(ctx, who.User); err != nil {
		return created{}, err
	}
	s, now := newSecret(), im.Now()
	b := im.Bot{ID: im.NewID(), Account: in.Account, Name: in.Name, Bio: in.Bio, Created: now}
	t := im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "first", Scopes: scopes, Created: now}
	if err := c.newcomers.MarkBot(ctx, b.ID, who.User); err != nil {
		return created{}, fmt.Errorf("creating a bot: %w", err)
	}
	if err := c.bots.CreateBot(ctx, who.User, b, t, s.hash, c.most); err != nil {
		return created{}, fmt.Errorf("creating a bot: %w", err)
	}
	return created{Bot: b, ID: t.ID, Token: s.text}, nil
}
