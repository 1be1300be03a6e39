package bot

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type tokenAdder interface {
	// CreateBotToken adds a token of a bot. Denied: it may have no more.
	// NotFound: the owner has no such bot.
	CreateBotToken(ctx context.Context, owner string, t im.BotToken, hash []byte, most int) error
}

type tokenRequest struct {
	Bot     string     `json:"bot"`
	Name    string     `json:"name"`
	Scopes  []im.Scope `json:"scopes"`
	Expires im.Time    `json:"expires"` // 0 is never
}

type createdToken struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// ShownOnce says that the answer is kept nowhere.
func (createdToken) ShownOnce() {}

type tokenCreator struct {
	tokens tokenAdder
	limit  limiter
	most   int // tokens of a bot
}

func (t *tokenCreator) call(ctx context.Context, c im.Caller, in tokenRequest) (createdToken, error) {
	if err := cmp.Or(checkBot(in.Bot), im.CheckName(in.Name)); err != nil {
		return createdToken{}, err
	}
	now := im.Now()
	if in.Expires != 0 && in.Expires <= now {
		return createdToken{}, im.Errorf(im.Invalid, `"expires" is over`)
	}
	scopes, err := im.NormalScopes(in.Scopes)
	if err != nil {
		return createdToken{}, err
	}
	if err := t.limit.Allow(ctx, c.User); err != nil {
		return createdToken{}, err
	}
	s := newSecret()
	token := im.BotToken{ID: im.NewID(), Bot: in.Bot, Name: in.Name, Scopes: scopes, Created: now, Expires: in.Expires}
	if err := t.tokens.CreateBotToken(ctx, c.User, token, s.hash, t.most); err != nil {
		return createdToken{}, fmt.Errorf("creating a token: %w", err)
	}
	return createdToken{token.ID, s.text}, nil
}

type tokenLister interface {
	// BotTokens returns the tokens of a bot. NotFound: the owner has no such bot.
	BotTokens(ctx context.Context, owner, bot string) ([]im.BotToken, error)
}

type tokensRequest struct {
	Bot string `json:"bot"`
}

type tokens struct {
	Tokens []im.BotToken `json:"tokens"` // all of them: there are not many
}

func listTokens(of tokenLister) func(context.Context, im.Caller, tokensRequest) (tokens, error) {
	return func(ctx context.Context, c im.Caller, in tokensRequest) (tokens, error) {
		if err := checkBot(in.Bot); err != nil {
			return tokens{}, err
		}
		found, err := of.BotTokens(ctx, c.User, in.Bot)
		if err != nil {
			return tokens{}, fmt.Errorf("listing tokens: %w", err)
		}
		return tokens{append([]im.BotToken{}, found...)}, nil
	}
}

type tokenDeleter interface {
	// DeleteBotToken ends a token. NotFound: there is none of a bot of the owner.
	DeleteBotToken(ctx context.Context, owner, bot, token string) error
}

type tokenDeleteRequest struct {
	Bot   string `json:"bot"`
	Token string `json:"token"` // its id
}

// deleteToken ends a token: nobody signs in by it any more, and who did is
// refused and disconnected. It may be repeated.
func deleteToken(tokens tokenDeleter, end ender) func(context.Context, im.Caller, tokenDeleteRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in tokenDeleteRequest) (nothing, error) {
		if err := checkBot(in.Bot); err != nil {
			return nothing{}, err
		}
		if !im.IsID(in.Token) {
			return nothing{}, im.Errorf(im.Invalid, `"token" is the id of a token`)
		}
		if err := tokens.DeleteBotToken(ctx, c.User, in.Bot, in.Token); err != nil {
			return nothing{}, fmt.Errorf("deleting a token: %w", err)
		}
		end.Revoked(ctx, in.Bot, in.Token)
		return nothing{}, nil
	}
}
