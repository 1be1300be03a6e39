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
	listedMost  = 40  // entries that others get in a minute of people who come and go
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
	begin := time.Now()
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
			var page struct {
				Head int64 `json:"head"`
			}
			err := member.must(ctx, "GET", "/v1/inbox?after=0&limit=1", nil, &page)
			if most := int64(listedMost * (1 + time.Since(begin)/time.Minute)); page.Head > most {
				err = errors.Join(err, fmt.Errorf("the members of the group have got %d entries, and %d are the most that were to be", page.Head, most))
			}
			return errors.Join(err, t.some("429"))
		},
		tally: t,
	}, nil
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
			return errors.Join(t.some("429"), t.most("registered", 35), t.most("strangers written to", 6*accounts))
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
	for n, user := range to {
		status, err := p.call(ctx, "POST", "/v1/messages", map[string]string{"to": "u:" + user, "text": "buy this"}, nil)
		if err == nil && status == http.StatusOK {
			t.add("strangers written to")
		} else {
			t.status(status, ended(ctx, err))
		}
		if ctx.Err() != nil || n == 300 || status == http.StatusTooManyRequests && n > 100 {
			return
		}
		rest(ctx, 20*time.Millisecond)
	}
}

// inSite returns an address of one /48, each in a /64 of its own.
func inSite(i int64) string { return fmt.Sprintf("2001:db8:7:%x::1", uint16(i*257)) }
