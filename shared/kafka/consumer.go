package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	// A consumer that died is noticed after sessionTimeout; one that joins or
	// leaves makes the others join anew at their next heartbeat.
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = time.Second

	// rebalanceTimeout is how long the others wait for a handler to return
	// when partitions are shared out anew.
	rebalanceTimeout = 20 * time.Second

	rejoinBackoff = 500 * time.Millisecond

	// leaveTimeout bounds how long Run waits for handlers and to be out of the
	// group, which may take long when the brokers do not answer.
	leaveTimeout = 15 * time.Second

	// commitEvery is the least time between two commits of a member.
	commitEvery = 100 * time.Millisecond

	// defaultFetchBytes is what one fetch asks for.
	defaultFetchBytes = 1 << 20
)

// Consumer reads topics as a member of a consumer group. It works on each of
// its partitions on its own, by Work, which fetches records when it has room for
// them and says how far they are done.
//
// What is done is committed a little later: a crash, a rebalance or a commit
// that failed brings records again that were done already. A group without
// committed offsets starts at the first record there is.
type Consumer struct {
	Group  string
	Topics []string

	// Work works on a partition until ctx ends: the partition is not ours any
	// more, or the consumer stops. It returns within a few seconds of that, and
	// not before, when nothing of it fetches any more. What it calls done
	// meanwhile is done still. When it returns before, or panics, it is called
	// again, to begin with what is not done.
	Work func(ctx context.Context, p *Partition) error

	// Joined, if not nil, is told when the consumer has become a member of the
	// group and when it is none any more.
	Joined func(bool)

	// FetchBytes is what one fetch asks for; 0 is 1 MiB. A larger batch comes
	// if there is no smaller one.
	FetchBytes int
}

// Run consumes until ctx is done, then waits for the handlers to return,
// commits what they have done and leaves the group. What goes wrong with
// Kafka is logged and tried again; the error tells of settings.
func (c Consumer) Run(ctx context.Context, env *proc.Env) error {
	cl, err := openCluster(env)
	if err != nil {
		return err
	}
	if c.FetchBytes == 0 {
		c.FetchBytes = defaultFetchBytes
	}
	for _, topic := range c.Topics {
		// In a group whose topic does not exist kafka-go joins again and again,
		// without a pause.
		if _, err := cl.awaitPartitions(ctx, topic); err != nil {
			return nil // it waits as long as ctx
		}
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                     c.Group,
		Brokers:                cl.brokers,
		Dialer:                 &kafkago.Dialer{ClientID: clientID, Timeout: dialTimeout, DualStack: true, SASLMechanism: cl.transport.SASL},
		Topics:                 c.Topics,
		HeartbeatInterval:      heartbeatInterval,
		SessionTimeout:         sessionTimeout,
		RebalanceTimeout:       rebalanceTimeout,
		JoinGroupBackoff:       rejoinBackoff,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: 10 * time.Second,
		StartOffset:            kafkago.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("joining group %s: %w", c.Group, err)
	}
	failing := false
	for {
		gen, err := group.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if !errors.Is(err, kafkago.RebalanceInProgress) {
				log := env.Log.Debug
				if !failing {
					log = env.Log.Warn // once; it goes on trying
				}
				failing = true
				log("cannot join", "group", c.Group, "err", err)
			}
			continue
		}
		failing = false
		g := &generation{Consumer: c, Generation: gen, cluster: cl, done: commits{marked: make(chan struct{}, 1)}}
		g.run(ctx)
	}
	left := make(chan struct{})
	go func() { group.Close(); close(left) }()
	select {
	case <-left:
	case <-time.After(leaveTimeout):
		env.Log.Warn("left without saying so", "group", c.Group)
	}
	return nil
}

// generation is the time in which the partitions of a group are shared out in
// one way.
type generation struct {
	Consumer
	*kafkago.Generation
	*cluster
	done  commits
	loops sync.WaitGroup
}

// run starts a loop for each partition and one that commits. It does not wait;
// kafka-go does, before it joins again. A generation ends with the first of its
// functions that returns, so none may return before it is over. One that is
// started when it is over already is not waited for, so it must do nothing; the
// one that commits is started first, since it is to be waited for if any is.
func (g *generation) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	n := 0
	for _, assigned := range g.Assignments {
		n += len(assigned)
	}
	g.loops.Add(n)
	g.Start(func(over context.Context) {
		defer cancel()
		context.AfterFunc(over, cancel)
		if g.Joined != nil && over.Err() == nil {
			g.Joined(true)
			defer g.Joined(false)
		}
		g.commitLoop(over)
	})
	for topic, assigned := range g.Assignments {
		for _, a := range assigned {
			g.Start(func(over context.Context) {
				if over.Err() == nil {
					g.consume(ctx, topic, a)
				}
				g.loops.Done()
				<-over.Done()
			})
		}
	}
	g.log.Info("joined", "group", g.Group, "generation", g.ID, "partitions", n)
}

// consume works on a partition until ctx is done.
func (g *generation) consume(ctx context.Context, topic string, a kafkago.PartitionAssignment) {
	next := a.Offset
	for attempt := 0; ; attempt++ {
		p := &Partition{
			Topic: topic, ID: a.ID, commits: &g.done, done: next,
			reader: reader{cluster: g.cluster, topic: topic, partition: a.ID, next: next, maxBytes: g.FetchBytes},
		}
		err := proc.Protect(func() error { return g.Work(ctx, p) })
		if ctx.Err() != nil {
			return
		}
		next = p.done
		g.log.Warn("working again", "group", g.Group, "topic", topic, "partition", a.ID, "offset", next, "err", err)
		if retry.Sleep(ctx, again.Equal(attempt+1)) != nil {
			return
		}
	}
}

// A Partition is one that a consumer works on.
type Partition struct {
	Topic string
	ID    int

	reader  reader
	commits *commits
	done    int64 // what Done was told
}

// Fetched is what came of a fetch.
type Fetched struct {
	Records []Record
	Next    int64 // the offset after them: what is done when they are, and all before
	End     int64 // the offset after the last record that there is
	Moved   bool  // Next is not what it was: there is something to be done, if not a record
}

// Fetch returns the records that follow those of the fetch before. It waits for
// them for a while, and may return none. The error is that of ctx. One
// goroutine fetches at a time.
func (p *Partition) Fetch(ctx context.Context) (Fetched, error) {
	before := p.reader.next
	records, err := p.reader.read(ctx)
	return Fetched{Records: records, Next: p.reader.next, End: p.reader.end, Moved: p.reader.next != before}, err
}

// Done says that all before an offset is done, and may be committed. One
// goroutine says so at a time.
func (p *Partition) Done(next int64) {
	p.done = next
	p.commits.mark(p.Topic, p.ID, next)
}

// commitLoop commits what is done, all partitions in one request, until the
// generation is over and its loops have ended.
func (g *generation) commitLoop(over context.Context) {
	for over.Err() == nil {
		select {
		case <-g.done.marked:
		case <-over.Done():
		}
		if over.Err() != nil {
			break
		}
		if err := g.CommitOffsets(g.done.take()); err != nil {
			// Without a commit the work would be done again and again, so
			// this is the end of the generation: kafka-go finds the
			// coordinator anew.
			g.log.Warn("cannot commit", "group", g.Group, "err", err)
			return
		}
		_ = retry.Sleep(over, commitEvery)
	}
	g.loops.Wait()
	if err := g.CommitOffsets(g.done.take()); err != nil {
		g.log.Info("done but not committed", "group", g.Group, "err", err)
	}
}

// commits are the offsets that are done and not committed.
type commits struct {
	mu      sync.Mutex
	offsets map[string]map[int]int64
	marked  chan struct{}
}

func (c *commits) mark(topic string, partition int, next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offsets == nil {
		c.offsets = make(map[string]map[int]int64)
	}
	if c.offsets[topic] == nil {
		c.offsets[topic] = make(map[int]int64)
	}
	c.offsets[topic][partition] = next
	select {
	case c.marked <- struct{}{}:
	default:
	}
}

func (c *commits) take() map[string]map[int]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	offsets := c.offsets
	c.offsets = nil
	return offsets
}
