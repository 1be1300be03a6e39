package user

import (
	"context"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
)

// A line lets a few go on at a time; the others wait for their turn. Networks
// take turns, so that whoever sends many from one makes its own wait. Those who
// wait are bounded, in all and of each network; if there are too many in all, the
// last of the network that has most makes room for one that has fewer (as
// FQ-CoDel drops, RFC 8290, 4.1.2).
type line struct {
	most, share int // who wait, in all and of a network

	mu      sync.Mutex
	free    int // who may go on at once
	waiting int
	of      map[string][]waiter // of each network, in the order in which they came
	turns   []string            // networks of which somebody waits, the next one first
}

// A waiter is told nil when it is its turn, or that it will never be.
type waiter chan error

func newLine(parallel, waiting int) *line {
	return &line{most: waiting, share: (waiting + 1) / 2, free: parallel, of: make(map[string][]waiter)}
}

const saysBusy = "too many are signing in just now: try again in a moment"

var errBusy = im.Errorf(im.Overloaded, saysBusy)

// enter returns nil when it is the turn of somebody of a network, who calls
// leave afterwards. Overloaded: too many wait, or ctx is over.
func (l *line) enter(ctx context.Context, network string) error {
	w, err := l.join(network)
	if w == nil {
		return err
	}
	select {
	case err := <-w:
		return err
	case <-ctx.Done():
	}
	if !l.giveUp(network, w) && <-w == nil { // it was its turn just now
		l.leave()
	}
	return im.Wrap(im.Overloaded, ctx.Err(), saysBusy)
}

// join returns who waits, or nil if they need not, or must not.
func (l *line) join(network string) (waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free > 0 {
		l.free--
		return nil, nil
	}
	mine := len(l.of[network])
	if mine >= l.share || l.waiting >= l.most && !l.makeRoom(mine) {
		return nil, errBusy
	}
	if mine == 0 {
		l.turns = append(l.turns, network)
	}
	w := make(waiter, 1)
	l.of[network] = append(l.of[network], w)
	l.waiting++
	return w, nil
}

// makeRoom sends away the last of the network of which most wait, if it will
// still have as many as one that has so few and gets one more.
func (l *line) makeRoom(few int) bool {
	fattest := ""
	for _, n := range l.turns {
		if len(l.of[n]) > len(l.of[fattest]) {
			fattest = n
		}
	}
	all := l.of[fattest]
	if len(all) <= few+1 {
		return false
	}
	all[len(all)-1] <- errBusy
	l.of[fattest] = all[:len(all)-1]
	l.waiting--
	return true
}

// giveUp takes a waiter out of the line, and reports whether it was in it.
func (l *line) giveUp(network string, w waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.of[network], w)
	if i < 0 {
		return false
	}
	l.waiting--
	l.of[network] = slices.Delete(l.of[network], i, i+1)
	if len(l.of[network]) == 0 {
		delete(l.of, network)
		l.turns = slices.DeleteFunc(l.turns, func(n string) bool { return n == network })
	}
	return true
}

// leave makes it the turn of the next.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		l.free++
		return
	}
	network := l.turns[0]
	l.turns = l.turns[1:]
	w := l.of[network][0]
	l.of[network] = l.of[network][1:]
	l.waiting--
	if len(l.of[network]) > 0 {
		l.turns = append(l.turns, network)
	} else {
		delete(l.of, network)
	}
	w <- nil
}
