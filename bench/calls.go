package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// apiCallers call at once to measure how many calls are answered per second.
// How long one takes is measured with one caller, too.
const apiCallers = 8

// A call is something that is asked of the API, in one request or several.
type call struct {
	name, note string
	do         func(ctx context.Context, ask asker) error
}

// An asker asks the API and returns the answer, which has to be 200.
type asker func(ctx context.Context, u *user, method, path string, body any) ([]byte, error)

// calls measures the API on what seed has put into the database.
func (b *bench) calls(ctx context.Context) error {
	if b.postgres == "" {
		b.asked.add("the API", "not measured: set POSTGRES_URL, for what is read is put there first")
		return nil
	}
	users, err := b.crew.muster(ctx, 2)
	if err != nil {
		return err
	}
	s, err := seed(ctx, b.postgres, users[0].ID, users[1].ID, b.quick)
	if err != nil {
		return fmt.Errorf("preparing what the API is asked for: %w", err)
	}
	return b.askAll(ctx, apiCalls(s, users[0], users[1]))
}

// askAll measures calls, each by one caller and by several, and adds them to
// the report.
func (b *bench) askAll(ctx context.Context, all []call) error {
	for _, c := range all {
		one, err := b.ask(ctx, c, 1)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		many, err := b.ask(ctx, c, apiCallers)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		b.asked.call(c.name, one, many, c.note)
	}
	return nil
}

// apiCalls are the rows of the table. ann has the friends, the group and the
// long conversation; bob has the many conversations.
func apiCalls(s seeded, ann, bob *user) []call {
	return []call{
		{"user-login", "one Argon2id hash each (19 MiB, two passes): PASSWORD_PARALLEL (2) at a time", func(ctx context.Context, ask asker) error {
			device := fmt.Sprintf("bench-%d", rand.IntN(32))
			b, err := ask(ctx, nil, http.MethodPost, "/v1/sessions", map[string]string{"account": bob.Account, "password": bob.Password, "device": device, "platform": "bot"})
			return has(b, err, "access_token", -1)
		}},
		{fmt.Sprintf("friend-list of %s", thousands(s.friends)), "", func(ctx context.Context, ask asker) error {
			b, err := ask(ctx, ann, http.MethodGet, "/v1/friends?limit=1000", nil)
			return has(b, err, "friends", s.friends)
		}},
		{fmt.Sprintf("group-members of %s", thousands(s.members)), "in pages of 1,000", func(ctx context.Context, ask asker) error {
			for path, left := "/v1/groups/"+s.group+"/members?limit=1000", s.members; left > 0; left -= 1000 {
				b, err := ask(ctx, ann, http.MethodGet, path, nil)
				if err := has(b, err, "members", min(left, 1000)); err != nil {
					return err
				}
				var page struct {
					Next string `json:"next"`
				}
				if err := json.Unmarshal(b, &page); err != nil {
					return err
				}
				path = "/v1/groups/" + s.group + "/members?limit=1000&cursor=" + page.Next
			}
			return nil
		}},
		{fmt.Sprintf("conversation-list of %d with unread", s.conversations), fmt.Sprintf("in pages of 100; %s messages in the inbox", thousands(s.inbox)), func(ctx context.Context, ask asker) error {
			for path, left := "/v1/conversations?limit=100", s.conversations; left > 0; left -= 100 {
				b, err := ask(ctx, bob, http.MethodGet, path, nil)
				if err := has(b, err, "conversations", 100); err != nil {
					return err
				}
				var page struct {
					Next string `json:"next"`
				}
				if err := json.Unmarshal(b, &page); err != nil {
					return err
				}
				path = "/v1/conversations?limit=100&cursor=" + page.Next
			}
			return nil
		}},
		{"conversation-list, the first 50", "what a client shows first", func(ctx context.Context, ask asker) error {
			b, err := ask(ctx, bob, http.MethodGet, "/v1/conversations?limit=50", nil)
			return has(b, err, "conversations", 50)
		}},
		{"message-sync of 1,000", "", func(ctx context.Context, ask asker) error {
			b, err := ask(ctx, bob, http.MethodGet, fmt.Sprintf("/v1/inbox?after=%d&limit=1000", s.after), nil)
			return has(b, err, "entries", 1000)
		}},
		{fmt.Sprintf("message-history: 50 somewhere in %s", thousands(s.history)), "", func(ctx context.Context, ask asker) error {
			b, err := ask(ctx, ann, http.MethodGet, "/v1/conversations/"+string(s.conversation)+"/messages?limit=50&before="+s.cursor(100+rand.IntN(s.history-100)), nil)
			return has(b, err, "messages", 50)
		}},
	}
}

// ask makes a call again and again, by some callers at once.
func (b *bench) ask(ctx context.Context, c call, callers int) (*limit, error) {
	hc := callersClient(callers)
	defer hc.CloseIdleConnections()
	ask := b.asker(hc)
	return timed(ctx, c.name, "calls", callers, b.perCall, b.use, func(ctx context.Context, _ int, note func(int64, time.Duration)) error {
		for ctx.Err() == nil {
			start := time.Now()
			if err := c.do(context.WithoutCancel(ctx), ask); err != nil {
				return err
			}
			note(1, time.Since(start))
		}
		return nil
	})
}

// callersClient is for so many callers at once, each of whom keeps a connection.
func callersClient(callers int) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
}

func (b *bench) asker(hc *http.Client) asker {
	return func(ctx context.Context, u *user, method, path string, body any) ([]byte, error) {
		var text []byte
		if body != nil {
			var err error
			if text, err = json.Marshal(body); err != nil {
				return nil, err
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if u != nil {
			req.Header.Set("Authorization", "Bearer "+u.AccessToken)
		}
		resp, err := hc.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %.200s", resp.StatusCode, answer)
		}
		return answer, err
	}
}

// into reads an answer.
func into(answer []byte, err error, out any) error {
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	return nil
}

// has reports whether an answer has a field, and if n is not negative whether
// that is a list of n.
func has(answer []byte, err error, field string, n int) error {
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	value, ok := fields[field]
	if !ok {
		return fmt.Errorf("the answer has no %q", field)
	}
	if n < 0 {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return fmt.Errorf("reading %q: %w", field, err)
	}
	if len(list) != n {
		return fmt.Errorf("the answer has %d %s, not %d", len(list), field, n)
	}
	return nil
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
