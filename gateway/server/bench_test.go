package server

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// From a message on the socket, through a chat-ingest that does nothing, to its
// answer: 50 connections, each with 32 messages in flight.
func BenchmarkSend(b *testing.B) {
	s := newSystem(b)
	g := s.gateway()
	const peers, window = 50, 32
	var all sync.WaitGroup
	b.ReportAllocs()
	var dialled []*peer
	for range peers {
		dialled = append(dialled, s.dial(g, someone("web")))
	}
	for b.Loop() {
		for _, p := range dialled {
			all.Go(func() {
				to := im.NewID()
				for i := range window {
					p.send(fmt.Sprint(i), to)
				}
				for range window {
					if f := <-p.frames; f.Type != frame.Accepted {
						b.Errorf("%+v", f)
					}
				}
			})
		}
		all.Wait()
	}
	b.ReportMetric(float64(b.N*peers*window)/b.Elapsed().Seconds(), "messages/s")
}

// From the request of push-fanout to the sockets: batches of 100 messages, each
// for two users.
func BenchmarkPush(b *testing.B) {
	s := newSystem(b)
	g := s.gateway()
	p, q := s.dial(g, someone("web")), s.dial(g, someone("web"))
	events := make([]event.Event, 100)
	seq := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range events {
			seq++
			events[i] = s.sealed(event.Push, event.Pushed{Message: message("a text of some length, as people write them to each other"), To: []event.Recipient{{User: p.User, Seq: seq}, {User: q.User, Seq: seq}}})
			events[i].ID = im.NewMessageID(im.Now()) + "@g" // as push-fanout has it
			s.ring.Sign(&events[i])
		}
		s.push(g, events...)
		for range events {
			p.next(frame.Message)
			q.next(frame.Message)
		}
	}
	b.ReportMetric(float64(b.N*2*len(events))/b.Elapsed().Seconds(), "frames/s")
}
