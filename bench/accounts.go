package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/pquerna/otp/totp"
)

// totpStep is for how long a code of an authenticator is shown. The next one is
// good already.
const totpStep = 30 * time.Second

// A factored user has a second factor.
type factored struct {
	user
	secret string
	used   time.Time // when the code was shown that was used
}

// accounts measures signing in with a second factor. Of each user a code is
// good once, so there are as many users as sign-ins.
func (b *bench) accounts(ctx context.Context) error {
	n, alone := 100, 30
	if b.quick {
		n, alone = 6, 2
	}
	users := make([]*factored, n)
	if err := each(ctx, n, 4, func(ctx context.Context, i int) (err error) {
		users[i], err = b.withFactor(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("setting up second factors: %w", err)
	}
	login := func(ctx context.Context, u *factored) error {
		code, err := totp.GenerateCode(u.secret, u.used.Add(totpStep))
		if err != nil {
			return err
		}
		_, err = b.api.LoginWithCode(ctx, u.Account, u.Password, code, "bench-2", "bot")
		return err
	}
	one, err := counted(ctx, alone, 1, b.use, func(ctx context.Context, i int) error { return login(ctx, users[i]) })
	if err != nil {
		return fmt.Errorf("signing in with a second factor: %w", err)
	}
	many, err := counted(ctx, n-alone, apiCallers, b.use, func(ctx context.Context, i int) error { return login(ctx, users[alone+i]) })
	if err != nil {
		return fmt.Errorf("signing in with a second factor: %w", err)
	}
	b.asked.call("user-login with a code (TOTP)", one, many, fmt.Sprintf("%d sign-ins; the password's hash is what they cost", n))
	return nil
}

// withFactor makes a user who has a second factor.
func (b *bench) withFactor(ctx context.Context) (*factored, error) {
	f := new(factored)
	if err := b.crew.signIn(ctx, &f.user); err != nil {
		return nil, err
	}
	var made struct {
		Secret string `json:"secret"`
	}
	if err := patiently(ctx, func() error {
		return b.api.Call(ctx, http.MethodPost, "/v1/users/me/totp", f.AccessToken, map[string]string{"password": f.Password}, &made)
	}); err != nil {
		return nil, err
	}
	f.secret, f.used = made.Secret, time.Now()
	code, err := totp.GenerateCode(f.secret, f.used)
	if err != nil {
		return nil, err
	}
	return f, b.api.Call(ctx, http.MethodPut, "/v1/users/me/totp", f.AccessToken, map[string]string{"code": code}, nil)
}
