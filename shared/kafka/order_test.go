package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// unreliable is a broker that fails in every way it can: a request may be
// lost, be written and not acknowledged, be acknowledged late, or be written
// long after whoever sent it has given up.
type unreliable struct {
	t    testing.TB
	rand *rand.Rand

	mu     sync.Mutex
	log    [partitionsOfModel][]string // ids by partition
	flying [partitionsOfModel]int      // requests not answered yet
	late   sync.WaitGroup
}

const partitionsOfModel = 2

func (u *unreliable) RoundTrip(ctx context.Context, _ net.Addr, req kafkago.Request) (kafkago.Response, error) {
	switch req := req.(type) {
	case *metadata.Request:
		res := &metadata.Response{Topics: []metadata.ResponseTopic{{Name: "t"}}}
		for i := range partitionsOfModel {
			res.Topics[0].Partitions = append(res.Topics[0].Partitions, metadata.ResponsePartition{PartitionIndex: int32(i)})
		}
		return res, nil
	case *produce.Request:
		return u.produce(ctx, req)
	}
	return nil, errors.New("not in this model")
}

func (u *unreliable) produce(ctx context.Context, req *produce.Request) (kafkago.Response, error) {
	part := &req.Topics[0].Partitions[0]
	var ids []string
	for {
		r, err := part.RecordSet.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rec := Record{Headers: r.Headers}
		ids = append(ids, rec.Header("ce_id"))
	}
	write := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.log[part.Partition] = append(u.log[part.Partition], ids...)
	}
	answer := func(code kafkago.Error) (kafkago.Response, error) {
		return &produce.Response{Topics: []produce.ResponseTopic{{Partitions: []produce.ResponsePartition{{Partition: part.Partition, ErrorCode: int16(code)}}}}}, nil
	}
	u.mu.Lock()
	u.flying[part.Partition]++
	if u.flying[part.Partition] > 1 {
		u.t.Error("a partition has two requests under way")
	}
	fate, delay := u.rand.IntN(12), time.Duration(u.rand.IntN(20))*time.Millisecond
	later := time.Duration(u.rand.IntN(20_000)) * time.Millisecond
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.flying[part.Partition]--
	}()
	time.Sleep(delay)
	switch fate {
	case 0:
		return nil, io.ErrUnexpectedEOF
	case 1:
		write()
		return nil, io.ErrUnexpectedEOF
	case 2:
		u.late.Go(func() { time.Sleep(later); write() })
		return nil, io.ErrUnexpectedEOF
	case 3: // frozen
		if later < 10*time.Second {
			u.late.Go(func() { time.Sleep(later); write() })
		}
		<-ctx.Done()
		return nil, ctx.Err()
	case 4:
		return answer(kafkago.NotLeaderForPartition)
	case 5:
		write()
		return answer(kafkago.NotEnoughReplicasAfterAppend)
	case 6:
		if len(ids) > 1 {
			return answer(kafkago.MessageSizeTooLarge)
		}
	}
	write()
	return answer(0)
}

// Against any broker, what is acknowledged is in the log, in the order in which
// it was handed over, as those see it who pass over what they have seen before.
func TestOrderOfAcknowledgedRecordsHoldsWhateverTheBrokerDoes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s := os.Getenv("TIDINGS_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("TIDINGS_TEST_SEED=%d", seed)
	m := newProducerMetrics(imtest.Env(t, nil))
	for n := range 300 {
		synctest.Test(t, func(t *testing.T) { schedule(t, m, seed, uint64(n)) })
		if t.Failed() {
			return
		}
	}
}

func schedule(t *testing.T, m *producerMetrics, seed, n uint64) {
	r := rand.New(rand.NewPCG(seed, 2*n))
	broker := &unreliable{t: t, rand: rand.New(rand.NewPCG(seed, 2*n+1))}
	p := newProducer(&cluster{
		log: slog.New(slog.DiscardHandler), transport: &kafkago.Transport{},
		client: &kafkago.Client{Addr: kafkago.TCP("x:1"), Transport: broker, Timeout: requestTimeout},
	}, m)
	var mu sync.Mutex
	acked := make(map[string]bool)
	var callers sync.WaitGroup
	for c := range 6 {
		patience, most := time.Duration(100+r.IntN(20_000))*time.Millisecond, 1+r.IntN(4)
		if c == 0 && n%30 == 0 {
			most = 3 * maxBatchRecords / 2 // more than goes into one request
		}
		callers.Go(func() {
			for n := 0; n < 4*most; {
				var events []event.Event
				for range most {
					events = append(events, say(fmt.Sprint(c), n))
					n++
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				errs := p.PublishEach(ctx, "t", events)
				cancel()
				mu.Lock()
				for i, err := range errs {
					if err == nil {
						acked[events[i].ID] = true
					} else if k := im.KindOf(err); k != im.Unavailable && k != im.Overloaded {
						t.Errorf("%s: %v", events[i].ID, err)
					}
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	broker.late.Wait()

	first := make(map[string]bool)
	last := make(map[string]int)
	for _, log := range broker.log {
		for _, id := range log {
			if first[id] || !acked[id] {
				continue
			}
			first[id] = true
			var key, n int
			fmt.Sscanf(id, "%d/%d", &key, &n)
			if prev, ok := last[fmt.Sprint(key)]; ok && n < prev {
				t.Fatalf("%s came after %d", id, prev)
			}
			last[fmt.Sprint(key)] = n
		}
	}
	for id := range acked {
		if !first[id] {
			t.Fatalf("%s was acknowledged and is not there", id)
		}
	}
}
