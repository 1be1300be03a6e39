package abuse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
)

// mass returns the large group, which is made once.
func (s *Site) mass(ctx context.Context) (*Crowd, error) {
	if s.crowd == nil {
		c, err := s.Crowd(ctx)
		if err != nil {
			return nil, fmt.Errorf("making a large group: %w", err)
		}
		s.crowd = &c
	}
	return s.crowd, nil
}

const (
	floodMost   = 905 // messages
	floodWindow = 60  // of them that wait for an answer
	shownMost   = 20  // notices that are shown of three people who come and go
)

// flood has the owner of a large group write to it over sockets, as fast as the
// server takes it.
func flood(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	c, err := s.mass(ctx)
	if err != nil {
		return assault{}, err
	}
	t := newTally()
	var n atomic.Int64
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 3, time.Second, func(ctx context.Context, _ int) {
				if err := c.Owner.pour(ctx, "g:"+c.Group, &n, t); ctx.Err() == nil {
					t.status(0, err)
				}
			})
		},
		held:  func(context.Context) error { return t.some("refused", "cut off") },
		tally: t,
	}, nil
}

// pour sends messages over a socket until floodMost are sent.
func (p *Person) pour(ctx context.Context, to string, n *atomic.Int64, t *tally) error {
	ws, err := p.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	defer ws.Close()
	window := make(chan struct{}, floodWindow)
	failed := make(chan error, 1)
	go func() {
		for {
			var f frame.FromServer
			if err := ws.ReadJSON(&f); err != nil {
				failed <- err
				return
			}
			if f.Type == frame.Accepted || f.Type == frame.Refused {
				t.add(f.Type)
				select {
				case <-window:
				default:
				}
			}
		}
	}()
	for ctx.Err() == nil {
		select {
		case err := <-failed:
			return err
		case window <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		i := n.Add(1)
		if t.count(frame.Accepted) >= floodMost {
			rest(ctx, time.Second)
			continue
		}
		if err := send(ws, map[string]string{"type": frame.Send, "id": fmt.Sprint(p.device, i), "to": to, "text": fmt.Sprint(i)}); err != nil {
			return err
		}
		rest(ctx, 5*time.Millisecond)
	}
	return nil
}

// comeAndGo has three accounts join and leave a group that is open, in which
// others are.
func comeAndGo(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	people, err := s.joinAll(ctx, 5)
	if err != nil {
		return assault{}, err
	}
	owner, member, hostile := people[0], people[1], people[2:]
	group, err := owner.group(ctx, "open", member)
	if err != nil {
		return assault{}, err
	}
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 9, 20*time.Millisecond, func(ctx context.Context, i int) {
				p := hostile[i%len(hostile)]
				status, err := p.call(ctx, "POST", "/v1/groups/"+group+"/join", map[string]string{}, nil)
				t.status(status, ended(ctx, err))
				status, err = p.call(ctx, "DELETE", "/v1/groups/"+group+"/members/me", nil, nil)
				t.status(status, ended(ctx, err))
			})
		},
		held: func(ctx context.Context) error {
			n, err := member.shown(ctx, group)
			if n > shownMost {
				err = fmt.Errorf("a member of the group is shown %d entries, and %d are the most that were to be", n, shownMost)
			}
			return errors.Join(err, t.most("200", 400)) // 120 an hour each, and what comes back meanwhile
		},
		tally: t,
	}, nil
}

// shown returns how much is in the history of a group, of its newest page.
func (p *Person) shown(ctx context.Context, group string) (int, error) {
	var page struct {
		Messages []struct{} `json:"messages"`
	}
	err := p.must(ctx, "GET", "/v1/conversations/g:"+group+"/messages?limit=100", nil, &page)
	return len(page.Messages), err
}

// registrations has accounts registered from one customer's network, each of
// which then writes to as many strangers as it may.
func registrations(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	c, err := s.mass(ctx)
	if err != nil {
		return assault{}, err
	}
	t := newTally()
	var n atomic.Int64
	return assault{
		run: func(ctx context.Context) {
			var all sync.WaitGroup
			defer all.Wait()
			for range 8 {
				all.Go(func() {
					for i := n.Add(1); i <= 40 && ctx.Err() == nil; i = n.Add(1) {
						s.stranger().spam(ctx, c.Members, i, t)
					}
				})
			}
		},
		held: func(context.Context) error {
			accounts := t.count("registered")
			return errors.Join(t.some("429", "403"), t.most("registered", 36), t.most("strangers written to", 6*accounts))
		},
		tally: t,
	}, nil
}

// spam registers and writes to everybody.
func (p *Person) spam(ctx context.Context, to []string, i int64, t *tally) {
	p.address = inSite(i)
	if status, err := p.call(ctx, "POST", "/v1/users", map[string]string{"account": p.Account, "password": p.password}, nil); err != nil || status != http.StatusOK {
		t.status(status, ended(ctx, err))
		return
	}
	t.add("registered")
	if status, err := p.signIn(ctx); err != nil || status != http.StatusOK {
		t.status(status, ended(ctx, err))
		return
	}
	for refused := 0; len(to) > 0 && refused < 3 && ctx.Err() == nil; to = to[1:] {
		status, err := p.call(ctx, "POST", "/v1/messages", map[string]string{"to": "u:" + to[0], "text": "buy this"}, nil)
		if refused++; err == nil && status == http.StatusOK {
			t.add("strangers written to")
			refused = 0
		} else {
			t.status(status, ended(ctx, err))
		}
		rest(ctx, 20*time.Millisecond)
	}
}

// inSite returns an address of one /48, each in a /64 of its own.
func inSite(i int64) string { return fmt.Sprintf("2001:db8:7:%x::1", uint16(i*257)) }
