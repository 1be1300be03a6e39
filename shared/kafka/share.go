package kafka

import (
	"context"
	"sync"
	"time"
)

// A fetch that has brought little is kept for a moment: another consumer of this
// process may be about to ask for the same.
const (
	keptFor  = 2 * time.Second
	keptSize = 64 << 10 // bytes, of each partition
)

// fetches are those of a process. Consumers that read the same partition from the
// same offset share one request, and what came of it, decoded once: functions of
// one topic, which are consumer groups of their own, are at the same offset nearly
// always.
type fetches struct {
	mu   sync.Mutex
	sent map[fetchKey]*flight
	kept map[partitionKey]*flight // the last that brought something
}

type partitionKey struct {
	topic     string
	partition int
}

type fetchKey struct {
	partitionKey
	offset   int64
	maxBytes int
}

// A flight is one request, and what came of it.
type flight struct {
	key     fetchKey
	cancel  context.CancelFunc
	waiting int           // who has not given up; guarded by fetches.mu
	landed  chan struct{} // closed when the rest is set

	got batch
	err error
	at  time.Time
}

// batch is what a fetch brought. Nobody changes its records.
type batch struct {
	records []Record
	next    int64
	end     int64
	outside bool // the offset is not there
}

func (b *batch) size() (n int) {
	for i := range b.records {
		n += b.records[i].size()
	}
	return n
}

func newFetches() *fetches {
	return &fetches{sent: make(map[fetchKey]*flight), kept: make(map[partitionKey]*flight)}
}

// get returns what do returns for a key, which may be what it returned to another
// a moment ago. The error is that of ctx or of do, whose context ends when nobody
// waits for it.
func (f *fetches) get(ctx context.Context, key fetchKey, do func(context.Context) (batch, error)) (batch, error) {
	f.mu.Lock()
	if k := f.kept[key.partitionKey]; k != nil && k.key == key && time.Since(k.at) < keptFor {
		f.mu.Unlock()
		return k.got, nil
	}
	l := f.sent[key]
	if l == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l = &flight{key: key, cancel: cancel, landed: make(chan struct{})}
		f.sent[key] = l
		go f.fly(own, l, do)
	}
	l.waiting++
	f.mu.Unlock()
	select {
	case <-l.landed:
		return l.got, l.err
	case <-ctx.Done():
		f.giveUp(l)
		return batch{}, ctx.Err()
	}
}

func (f *fetches) fly(ctx context.Context, l *flight, do func(context.Context) (batch, error)) {
	defer l.cancel()
	l.got, l.err = do(ctx)
	l.at = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent[l.key] == l {
		delete(f.sent, l.key)
	}
	if l.err == nil && len(l.got.records) > 0 {
		delete(f.kept, l.key.partitionKey)
		if l.got.size() <= keptSize {
			f.kept[l.key.partitionKey] = l
		}
	}
	close(l.landed)
}

// giveUp ends a request that nobody waits for any more.
func (f *fetches) giveUp(l *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.waiting--; l.waiting > 0 {
		return
	}
	l.cancel()
	if f.sent[l.key] == l {
		delete(f.sent, l.key)
	}
}
