package user

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
)

// A line lets a few go on at a time; the others wait for their turn. Networks
// take turns, so that whoever sends many from one makes its own wait, and so do
// strangers, devices that were let in before, and callers who are signed in: of
// however many networks or accounts the others are, each class has its turns. Those who
// wait are bounded, in all and of each network; if there are too many in all, the
// last of the network that has most, in the class that has most, makes room for one
// that has fewer (as FQ-CoDel drops, RFC 8290, 4.1.2).
type line struct {
	most, share int // who wait, in all and of a network

	mu      sync.Mutex
	free    int // who may go on at once
	waiting int
	of      map[string][]waiter // of each network, in the order in which they came
	turns   [classes][]string   // networks of which somebody waits, the next one first
	last    int                 // the class that had the last turn
}

// The classes of those who wait.
const (
	strangers = iota
	devices
	callers
	classes
)

// What networks begin with that are none of strangers.
const (
	knownPrefix  = "known " // of a device that was let in before
	callerPrefix = "user "  // a user who is signed in; no network
)

func classOf(network string) int {
	switch {
	case strings.HasPrefix(network, knownPrefix):
		return devices
	case strings.HasPrefix(network, callerPrefix):
		return callers
	}
	return strangers
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
	if mine >= l.share || l.waiting >= l.most && !l.makeRoom(network, mine) {
		return nil, errBusy
	}
	if mine == 0 {
		c := classOf(network)
		l.turns[c] = append(l.turns[c], network)
	}
	w := make(waiter, 1)
	l.of[network] = append(l.of[network], w)
	l.waiting++
	return w, nil
}

// makeRoom sends away the last of the network of which most wait: in the class of
// which most wait if that will still have as many as the class of a network that
// gets one more, or else in its own, likewise.
func (l *line) makeRoom(network string, few int) bool {
	mine := classOf(network)
	if largest := l.largest(); l.count(largest) > l.count(mine)+1 {
		return l.sendAway(l.fattest(l.turns[largest]))
	}
	fat := l.fattest(l.turns[mine])
	return len(l.of[fat]) > few+1 && l.sendAway(fat)
}

// largest returns the class of which most wait.
func (l *line) largest() (largest int) {
	for c := range classes {
		if l.count(c) > l.count(largest) {
			largest = c
		}
	}
	return largest
}

// count returns how many of a class wait.
func (l *line) count(class int) (n int) {
	for _, network := range l.turns[class] {
		n += len(l.of[network])
	}
	return n
}

func (l *line) fattest(of []string) (fattest string) {
	for _, n := range of {
		if len(l.of[n]) > len(l.of[fattest]) {
			fattest = n
		}
	}
	return fattest
}

// sendAway sends away the last of a network of which somebody waits.
func (l *line) sendAway(network string) bool {
	all := l.of[network]
	all[len(all)-1] <- errBusy
	l.remove(network, len(all)-1)
	return true
}

// remove takes somebody out of the line.
func (l *line) remove(network string, i int) {
	l.waiting--
	if l.of[network] = slices.Delete(l.of[network], i, i+1); len(l.of[network]) == 0 {
		delete(l.of, network)
		c := classOf(network)
		l.turns[c] = slices.DeleteFunc(l.turns[c], func(n string) bool { return n == network })
	}
}

// giveUp takes a waiter out of the line, and reports whether it was in it.
func (l *line) giveUp(network string, w waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.of[network], w)
	if i < 0 {
		return false
	}
	l.remove(network, i)
	return true
}

// leave makes it the turn of the next.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	class := l.last
	for range classes {
		if class = (class + 1) % classes; len(l.turns[class]) > 0 {
			break
		}
	}
	if len(l.turns[class]) == 0 {
		l.free++
		return
	}
	l.last = class
	turns := l.turns[class]
	network := turns[0]
	l.turns[class] = append(turns[1:], network) // behind the others, if more of it wait
	w := l.of[network][0]
	l.remove(network, 0)
	w <- nil
}
