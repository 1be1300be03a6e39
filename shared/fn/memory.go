package fn

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

const (
	// bodyCost is how many bytes of memory a byte of a body takes: in the buffer
	// that it is read into, which may be twice as long, as an event, and as what
	// a function reads out of it.
	bodyCost = 4

	// maxCall is the most bytes in the body of a call of who has proved nothing.
	// A gateway takes less from its clients.
	maxCall = 128 << 10

	lightCall = 256 << 10       // that a call takes of a function that does not say
	patience  = 2 * time.Second // that a call waits for memory or for others of its caller

	maxHeavy = 2 // heavy calls of one user that a process makes at a time
	maxTurns = 8 // and of those that wait
)

// A loan is what a request has taken of budgets.
type loan struct {
	*proc.Budget
	n int64
}

// try takes n bytes more, or reports that they are not to be had.
func (l *loan) try(n int64) error {
	if !l.TryTake(n) {
		return errFull
	}
	l.n += n
	return nil
}

// keep gives all back but n bytes.
func (l *loan) keep(n int64) {
	if n < l.n {
		l.Give(l.n - n)
		l.n = n
	}
}

var errFull = &im.Error{Kind: im.Overloaded, Msg: "too much is under way: come again", RetryAfter: time.Second}

// A LentReader reads what its memory is lent for as it comes, whatever was
// announced.
type LentReader struct {
	from io.Reader
	loan loan
	cost int64
}

// NewLentReader returns a reader that takes cost bytes of a budget for each
// byte. Overloaded: they are not to be had.
func NewLentReader(from io.Reader, budget *proc.Budget, cost int64) *LentReader {
	return &LentReader{from: from, loan: loan{Budget: budget}, cost: cost}
}

// Read implements io.Reader.
func (l *LentReader) Read(b []byte) (int, error) {
	n, err := l.from.Read(b)
	if n > 0 {
		if full := l.loan.try(int64(n) * l.cost); full != nil {
			return n, full
		}
	}
	return n, err
}

// Close gives back what was lent.
func (l *LentReader) Close() { l.loan.keep(0) }

// memory is what the functions of a process share.
type memory struct {
	proc.Budgets
	strangers *proc.Budget // for bodies of who has proved nothing
	turns     turns
}

func openMemory(env *proc.Env) (*memory, error) {
	budgets, err := env.Budgets()
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "fn.memory", func() (*memory, func() error, error) {
		return &memory{
			Budgets:   budgets,
			strangers: Strangers(budgets),
			turns:     turns{of: make(map[string]*turn)},
		}, nil, nil
	})
}

// Strangers returns a budget for the bodies of those who have proved nothing:
// a part of what there is for bodies, so that they take nothing from others.
func Strangers(b proc.Budgets) *proc.Budget { return proc.NewBudget(b.Bodies.Size() / 4) }

// lent is what a request has until its answer is written.
type lent struct {
	work loan
	turn func() // ends the user's; nil if there is none
}

func (l *lent) end() {
	l.work.keep(0)
	if l.turn != nil {
		l.turn()
	}
}

// lend takes the memory for so many calls of a caller, as soon as there is as
// much and the user's other heavy calls are done.
func (s *server) lend(ctx context.Context, caller im.Caller, calls int, to *lent) (err error) {
	each := s.Memory
	if each == 0 {
		each = lightCall
	}
	to.work.Budget = s.memory.Work
	need := each * int64(calls)
	if need > to.work.Size() {
		return im.Errorf(im.TooLarge, "%d calls are too many in one request", calls)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.Memory > 0 && caller.User != "" {
		if to.turn, err = s.memory.turns.take(ctx, caller.User); err != nil {
			return err
		}
	}
	if err := to.work.Take(ctx, need); err != nil {
		return errFull
	}
	to.work.n = need
	return nil
}

// turns are the heavy calls of each user.
type turns struct {
	mu sync.Mutex
	of map[string]*turn
}

type turn struct {
	free chan struct{}
	here int // calls that are made or wait
}

// take waits until one more call of a user may be made. end says that it was.
func (t *turns) take(ctx context.Context, user string) (end func(), err error) {
	t.mu.Lock()
	mine := t.of[user]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, maxHeavy)}
		t.of[user] = mine
	}
	if mine.here == maxTurns {
		t.mu.Unlock()
		return nil, errTurns
	}
	mine.here++
	t.mu.Unlock()
	left := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.here--; mine.here == 0 {
			delete(t.of, user)
		}
	}
	select {
	case mine.free <- struct{}{}:
		return func() { <-mine.free; left() }, nil
	case <-ctx.Done():
		left()
		return nil, errTurns
	}
}

var errTurns = &im.Error{Kind: im.Overloaded, Msg: "you have other such calls under way: come again", RetryAfter: time.Second}

// isFull reports whether err is for want of memory.
func isFull(err error) bool { return errors.Is(err, errFull) }
