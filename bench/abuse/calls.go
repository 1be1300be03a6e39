package abuse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// A library is a conversation with much to read, and the three who wrote it.
type library struct {
	people []*Person
	page   string // the call that reads the newest of it
}

const (
	texts       = 240 // of a library: eight pages
	manyAtATime = 60  // calls that one account makes at a time
)

// books returns the library, which is written once.
func (s *Site) books(ctx context.Context) (*library, error) {
	if s.library != nil {
		return s.library, nil
	}
	people, err := s.joinAll(ctx, 3)
	if err != nil {
		return nil, err
	}
	group, err := people[0].group(ctx, "invite", people[1:]...)
	if err != nil {
		return nil, err
	}
	errs := make(chan error, len(people))
	for _, p := range people {
		go func() {
			for i := range texts / len(people) {
				text := strings.Repeat("<", im.MaxText)
				if i%2 == 1 {
					text = babble(im.MaxText)
				}
				if err := p.write(ctx, "g:"+group, text); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range people {
		if e := <-errs; e != nil {
			err = e
		}
	}
	s.library = &library{people, fmt.Sprintf("/v1/conversations/g:%s/messages?limit=100", group)}
	return s.library, err
}

// babble returns words that nobody says.
func babble(bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		if b[i] = byte('a' + rand.IntN(26)); rand.IntN(6) == 0 {
			b[i] = ' '
		}
	}
	return string(b)
}

// slowAnswers has three accounts ask for pages that they read a few bytes of at
// a time, over ever more connections.
func slowAnswers(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	lib, err := s.books(ctx)
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 6*manyAtATime, 200*time.Millisecond, func(ctx context.Context, i int) {
				t.status(lib.people[i%3].readSlowly(ctx, lib.page))
			})
		},
		held:  func(context.Context) error { return t.some("429", "cut off") },
		tally: t,
	}, err
}

func (p *Person) readSlowly(ctx context.Context, path string) (int, error) {
	c, err := p.open(ctx, "GET", path, 0)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	from := bufio.NewReaderSize(c, 64)
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		return 0, ended(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	for few := make([]byte, 64); ; rest(ctx, time.Second) {
		if _, err := resp.Body.Read(few); err == io.EOF || ctx.Err() != nil {
			return resp.StatusCode, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// ended returns why something failed: because the attack has ended, if it has.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// slowBodies has strangers and three accounts send what they say byte by byte.
func slowBodies(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	people, err := s.joinAll(ctx, 3)
	strangers := []*Person{s.stranger(), s.stranger()}
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 6*manyAtATime, 200*time.Millisecond, func(ctx context.Context, i int) {
				t.status(strangers[i%2].sendSlowly(ctx, "/v1/sessions"))
			})
		},
		held:  func(context.Context) error { return t.some("429", "cut off") },
		tally: t,
	}.and(func(ctx context.Context) {
		work(ctx, 6*manyAtATime, 200*time.Millisecond, func(ctx context.Context, i int) {
			t.status(people[i%3].sendSlowly(ctx, "/v1/messages"))
		})
	}), err
}

// and adds something that is done at the same time.
func (a assault) and(more func(context.Context)) assault {
	first := a.run
	a.run = func(ctx context.Context) {
		done := make(chan struct{})
		go func() { more(ctx); close(done) }()
		first(ctx)
		<-done
	}
	return a
}

func (p *Person) sendSlowly(ctx context.Context, path string) (int, error) {
	c, err := p.open(ctx, "POST", path, 16<<10)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	go func() {
		for ctx.Err() == nil {
			if _, err := c.Write([]byte{' '}); err != nil {
				return
			}
			rest(ctx, 500*time.Millisecond)
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, ended(ctx, err)
	}
	return resp.StatusCode, nil
}

// pages has three accounts read the largest pages that there are, many at once.
func pages(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	lib, err := s.books(ctx)
	if err != nil {
		return assault{}, err
	}
	return many(lib.people, lib.page), nil
}

// devices has one account read them on many devices.
func devices(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	lib, err := s.books(ctx)
	if err != nil {
		return assault{}, err
	}
	first := lib.people[0]
	on := []*Person{first}
	for range 7 {
		d := s.stranger()
		d.Account, d.password = first.Account, first.password
		if err := patiently(ctx, func() (int, error) { return d.signIn(ctx) }); err != nil {
			return assault{}, fmt.Errorf("signing in on one more device: %w", err)
		}
		on = append(on, d)
	}
	return many(on, lib.page), nil
}

// searches has three accounts search for what nobody has said.
func searches(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	lib, err := s.books(ctx)
	if err != nil {
		return assault{}, err
	}
	return many(lib.people, "/v1/messages/search?q=qzxvjkwyt"), nil
}

// many has each of these people make a call, many times at once.
func many(people []*Person, path string) assault {
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 3*manyAtATime, 100*time.Millisecond, func(ctx context.Context, i int) {
				status, err := people[i%len(people)].call(ctx, "GET", path, nil, nil)
				t.status(status, ended(ctx, err))
			})
		},
		held:  func(context.Context) error { return t.some("429") },
		tally: t,
	}
}
