package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// A user is an account of the benchmark's own.
type user struct {
	ID           string  `json:"id"`
	Account      string  `json:"account"`
	Password     string  `json:"password"`
	AccessToken  string  `json:"access_token"`
	Expires      im.Time `json:"expires"`
	RefreshToken string  `json:"refresh_token"`
}

// crew is the users and groups of a benchmark on one server. It is kept in a
// file, because making users costs time on purpose (a password's hash).
type crew struct {
	URL    string                  `json:"url"`
	Users  []*user                 `json:"users"`
	Groups map[int]im.Conversation `json:"groups"` // by number of members
	api    *client.API
	file   string
	mu     sync.Mutex
	madeUp int
}

// fresh is for how long an access token must be good at least: longer than a run.
const fresh = 8 * time.Minute

func openCrew(api *client.API, file string) (*crew, error) {
	c := &crew{URL: api.URL, Groups: make(map[int]im.Conversation), api: api, file: file}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	var kept crew
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("reading %s: %w (it may be removed)", file, err)
	}
	if kept.URL == c.URL && kept.Groups != nil {
		c.Users, c.Groups = kept.Users, kept.Groups
	}
	return c, nil
}

func (c *crew) save() error {
	c.mu.Lock()
	b, err := json.MarshalIndent(c, "", "\t")
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := os.WriteFile(c.file+".new", b, 0o600); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return os.Rename(c.file+".new", c.file)
}

// muster returns n users that are signed in.
func (c *crew) muster(ctx context.Context, n int) (users []*user, err error) {
	for len(c.Users) < n {
		c.Users = append(c.Users, &user{})
	}
	defer func() { err = errors.Join(err, c.save()) }()
	if err := c.recognise(ctx); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	defer close(done)
	go c.tell(done)
	err = each(ctx, n, 16, func(ctx context.Context, i int) error {
		u := c.Users[i]
		if u.ID != "" && time.Until(u.Expires.Std()) > fresh {
			return nil
		}
		return c.signIn(ctx, u)
	})
	return c.Users[:n], err
}

// recognise finds out whether the server knows its users still, or began anew.
func (c *crew) recognise(ctx context.Context) error {
	u := c.Users[0]
	id := u.ID
	if id == "" {
		return nil
	}
	if _, err := c.api.Inbox(ctx, u.AccessToken, 0, 1); !errors.Is(err, im.Unauthenticated) {
		return err
	}
	if err := c.signIn(ctx, u); err != nil {
		return err
	}
	for _, v := range c.Users[1:] {
		if u.ID != id {
			*v = user{}
		}
		v.Expires = 0
	}
	if u.ID != id {
		clear(c.Groups)
	}
	return nil
}

// tell says from time to time how far it is.
func (c *crew) tell(done <-chan struct{}) {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.mu.Lock()
			n := c.madeUp
			c.mu.Unlock()
			fmt.Fprintf(os.Stderr, "  %d users registered or signed in\n", n)
			c.save()
		case <-done:
			return
		}
	}
}

// signIn gets tokens for u, by the cheapest way that works.
func (c *crew) signIn(ctx context.Context, u *user) error {
	c.mu.Lock()
	v := *u
	c.mu.Unlock()
	var t client.Tokens
	err := error(im.Unauthenticated)
	if v.RefreshToken != "" {
		t, err = c.api.Refresh(ctx, v.RefreshToken)
	}
	if errors.Is(err, im.Unauthenticated) && v.ID != "" {
		t, err = c.login(ctx, v)
	}
	if errors.Is(err, im.Unauthenticated) {
		v = user{Account: "bench-" + im.NewID(), Password: im.NewID()}
		err = patiently(ctx, func() error {
			made, err := c.api.Register(ctx, v.Account, "", v.Password)
			v.ID = made.ID
			return err
		})
		if err != nil {
			return fmt.Errorf("registering %s: %w", v.Account, err)
		}
		t, err = c.login(ctx, v)
	}
	if err != nil {
		return fmt.Errorf("signing %s in: %w", v.Account, err)
	}
	v.AccessToken, v.Expires, v.RefreshToken = t.AccessToken, t.ExpiresAt, t.RefreshToken
	c.mu.Lock()
	defer c.mu.Unlock()
	*u = v
	c.madeUp++
	return nil
}

// login signs u in on a device like anybody's: those of bots are not notified
// of what is said while they are offline.
func (c *crew) login(ctx context.Context, u user) (client.Tokens, error) {
	var t client.Tokens
	err := patiently(ctx, func() (err error) {
		t, err = c.api.Login(ctx, u.Account, u.Password, "bench", "desktop")
		return err
	})
	if errors.Is(err, im.Overloaded) {
		err = fmt.Errorf("%w (raise SIGN_INS_PER_MINUTE of user-login: all of these come from one address)", err)
	}
	return t, err
}

// patiently tries again for a while what is overloaded: passwords are hashed
// few at a time.
func patiently(ctx context.Context, f func() error) error {
	for try := 0; ; try++ {
		err := f()
		if !errors.Is(err, im.Overloaded) && !errors.Is(err, im.Unavailable) || try == 10 {
			return err
		}
		if err := retry.Sleep(ctx, time.Duration(try+1)*100*time.Millisecond); err != nil {
			return err
		}
	}
}

// group returns a group of the first n users.
func (c *crew) group(ctx context.Context, n int) (im.Conversation, error) {
	if g, ok := c.Groups[n]; ok {
		return g, nil
	}
	var members []string
	for _, u := range c.Users[1:n] {
		members = append(members, u.ID)
	}
	g, err := c.api.CreateGroup(ctx, c.Users[0].AccessToken, fmt.Sprintf("bench %d", n), members)
	if err != nil {
		return "", fmt.Errorf("making a group of %d: %w", n, err)
	}
	c.Groups[n] = g.Conversation
	return g.Conversation, c.save()
}
