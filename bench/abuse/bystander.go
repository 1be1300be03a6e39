package abuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// Bystanders have nothing to do with who attacks. Ann writes to bob, and both
// read; cyd signs in, on a device that is known.
type Bystanders struct {
	ann, bob, cyd *Person
	mine, theirs  *websocket.Conn // of ann and of bob
	conversation  im.Conversation
	seq           int64 // in bob's inbox, up to which it was read
	n             int   // messages of ann

	mu       sync.Mutex
	sent     map[string]time.Time // when ann began to send a text that has not come yet
	answered map[string]chan frame.FromServer
	waits    *Waits
	closed   error // of a socket
	closing  bool
}

// Waits are how long bystanders waited for what they did.
type Waits struct {
	Refused []error       // what did not succeed at once
	Missing int           // messages that are in no inbox
	Stall   time.Duration // how late this machine did what was due, at most

	took []time.Duration
}

// Quantile returns a wait that a share q of all do not exceed.
func (w *Waits) Quantile(q float64) time.Duration {
	if len(w.took) == 0 {
		return 0
	}
	slices.Sort(w.took)
	return w.took[int(q*float64(len(w.took)-1)+0.5)]
}

// Count returns for how many things they waited.
func (w *Waits) Count() int { return len(w.took) }

const (
	cycle      = 150 * time.Millisecond // from one thing that ann does to the next
	seldom     = 5 * time.Second        // between two times that cyd signs in: less often than people may
	stallEvery = 20 * time.Millisecond
)

func (s *Site) bystanders(ctx context.Context) (*Bystanders, error) {
	all, err := s.joinAll(ctx, 3)
	if err != nil {
		return nil, err
	}
	b := &Bystanders{ann: all[0], bob: all[1], cyd: all[2], sent: make(map[string]time.Time), answered: make(map[string]chan frame.FromServer)}
	b.conversation = im.Direct(b.ann.ID, b.bob.ID)
	if err := b.ann.write(ctx, "u:"+b.bob.ID, "hello"); err != nil {
		return nil, err
	}
	if b.mine, err = b.ann.dial(ctx, nil); err != nil {
		return nil, err
	}
	if b.theirs, err = b.bob.dial(ctx, nil); err != nil {
		return nil, err
	}
	go b.listen(b.mine)
	go b.listen(b.theirs)
	return b, nil
}

func (b *Bystanders) close() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	b.mine.Close()
	b.theirs.Close()
}

// listen reads a socket until it ends.
func (b *Bystanders) listen(ws *websocket.Conn) {
	for {
		_, raw, err := ws.ReadMessage()
		var f frame.FromServer
		if err == nil {
			err = json.Unmarshal(raw, &f)
		}
		b.mu.Lock()
		switch {
		case err != nil:
			if !b.closing && b.closed == nil {
				b.closed = fmt.Errorf("a socket ended: %w", err)
			}
			b.mu.Unlock()
			return
		case f.Type == frame.Bye:
			b.closed = fmt.Errorf("the server closed a socket: %s", f.Reason)
		case f.Type == frame.Message && ws == b.theirs:
			b.came(f.Message)
		case f.Type == frame.Behind && ws == b.theirs:
			go b.sync(context.Background())
		case f.Type == frame.Accepted || f.Type == frame.Refused:
			if answer := b.answered[f.ID]; answer != nil {
				answer <- f
				delete(b.answered, f.ID)
			}
		}
		b.mu.Unlock()
	}
}

// came notes that a message is there. b is locked.
func (b *Bystanders) came(message json.RawMessage) {
	var m im.Message
	if json.Unmarshal(message, &m) != nil {
		return // then it is missing
	}
	if at, ok := b.sent[m.Text]; ok {
		delete(b.sent, m.Text)
		b.waits.took = append(b.waits.took, time.Since(at))
	}
}

// watch goes about the bystanders' business for so long and says what they noticed.
func (b *Bystanders) watch(ctx context.Context, d time.Duration) Waits {
	w := new(Waits)
	b.mu.Lock()
	b.waits = w
	b.mu.Unlock()
	end := time.Now().Add(d)
	probing, stop := context.WithCancel(ctx)
	stalls := make(chan time.Duration, 1)
	go func() { stalls <- stall(probing) }()
	var others sync.WaitGroup
	others.Go(func() { // when the attack is well under way
		for pause := min(d/3, seldom); time.Now().Add(pause).Before(end); {
			rest(ctx, pause)
			b.step("signing in", func() (int, error) { return b.cyd.signIn(ctx) })
			b.step("reading after signing in", func() (int, error) { return b.cyd.call(ctx, "GET", "/v1/users/me", nil, nil) })
			pause = max(d/3, seldom)
		}
	})
	for ; time.Now().Before(end) && ctx.Err() == nil; rest(ctx, cycle) {
		b.step("sending", func() (int, error) { return b.tell(ctx) })
		b.step("reading", func() (int, error) { return b.read(ctx) })
	}
	others.Wait()
	b.missed(ctx)
	stop()
	w.Stall = <-stalls
	return *w
}

// step does something that is to succeed at once.
func (b *Bystanders) step(what string, f func() (int, error)) {
	start := time.Now()
	status, err := f()
	took := time.Since(start)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits.took = append(b.waits.took, took)
	if err != nil && !errors.Is(err, context.Canceled) {
		b.waits.Refused = append(b.waits.Refused, fmt.Errorf("%s, after %s: %w", what, took.Round(time.Millisecond), err))
	}
}

// tell sends something to bob, by turns over HTTP and over the socket.
func (b *Bystanders) tell(ctx context.Context) (int, error) {
	b.n++
	text := fmt.Sprint("number ", b.n)
	id := fmt.Sprint("n-", b.n)
	answer := make(chan frame.FromServer, 1)
	b.mu.Lock()
	b.sent[text] = time.Now()
	b.answered[id] = answer
	b.mu.Unlock()
	if b.n%2 == 0 {
		return b.ann.call(ctx, "POST", "/v1/messages", map[string]string{"to": "u:" + b.bob.ID, "text": text}, nil)
	}
	if err := send(b.mine, map[string]string{"type": frame.Send, "id": id, "to": "u:" + b.bob.ID, "text": text}); err != nil {
		return 0, err
	}
	select {
	case f := <-answer:
		if f.Type == frame.Refused {
			return 0, fmt.Errorf("%s: %s", f.Kind, f.Detail)
		}
		return http.StatusOK, nil
	case <-time.After(patience):
		return 0, errors.New("nothing is said to it on the socket")
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// read reads what clients do, by turns.
func (b *Bystanders) read(ctx context.Context) (int, error) {
	switch b.n % 4 {
	case 0:
		return b.bob.call(ctx, "GET", fmt.Sprintf("/v1/conversations/%s/messages?limit=20", b.conversation), nil, nil)
	case 1:
		return b.ann.call(ctx, "GET", "/v1/conversations", nil, nil)
	case 2:
		return b.bob.call(ctx, "GET", fmt.Sprintf("/v1/inbox?after=%d", b.seq), nil, nil)
	}
	return b.ann.call(ctx, "GET", "/v1/users/"+b.bob.ID, nil, nil)
}

// missed waits until bob has been pushed all that was sent to him, or else has
// it in his inbox, and counts what he has nowhere. It notes a socket that was
// closed.
func (b *Bystanders) missed(ctx context.Context) {
	for end := time.Now().Add(patience); ctx.Err() == nil; rest(ctx, 100*time.Millisecond) {
		b.mu.Lock()
		left := len(b.sent)
		if left == 0 || time.Now().After(end) {
			b.waits.Missing = left
			clear(b.sent)
			if b.closed != nil {
				b.waits.Refused = append(b.waits.Refused, b.closed)
			}
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.sync(ctx)
	}
}

// sync takes what is in bob's inbox for having come.
func (b *Bystanders) sync(ctx context.Context) {
	var page struct {
		Entries []im.Entry `json:"entries"`
	}
	if status, err := b.bob.call(ctx, "GET", fmt.Sprintf("/v1/inbox?after=%d&limit=1000", b.seq), nil, &page); err != nil || status != http.StatusOK {
		return // it is asked again
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range page.Entries {
		b.seq = e.Seq
		b.came(e.Message)
	}
}

// stall returns how late this machine was with what was due, at most, until the
// context ends.
func stall(ctx context.Context) (most time.Duration) {
	for ctx.Err() == nil {
		due := time.Now().Add(stallEvery)
		time.Sleep(stallEvery)
		most = max(most, time.Since(due))
	}
	return most
}
