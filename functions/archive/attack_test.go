package archive

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

// While a partition is made of a month of which something is there, all of it is
// read, can be changed, and takes what is added: nobody looks where it was.
func TestP2WhatGoesIntoAPartitionIsThereAllTheTime(t *testing.T) {
	w := newWorld(t)
	w.run()
	for months := 14; months < 20; months++ {
		var fresh []im.Message
		for i := range 300 {
			fresh = append(fresh, said(busy, ago(months).Add(time.Duration(i)*time.Hour), fmt.Sprint(i)))
		}
		w.say(fresh...)
		span := month(ago(months), 0)
		made := make(chan struct{})
		var others sync.WaitGroup
		until := func(f func(i int) error) {
			others.Go(func() {
				for i := 0; ; i++ {
					if err := f(i); err != nil {
						t.Errorf("%d months ago: %v", months, err)
						return
					}
					select {
					case <-made:
						return
					default:
					}
				}
			})
		}
		for range 3 {
			until(func(int) error {
				got, _, err := w.db.History(t.Context(), busy, "nobody", im.Place{Time: span.Starts}, false, 200)
				if err == nil && (len(got) != 200 || got[199].Time >= span.Ends) {
					err = fmt.Errorf("%d messages are read", len(got))
				}
				return err
			})
			until(func(i int) error {
				_, _, err := w.db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
					if _, ok, err := tx.LockMessage(ctx, busy, fresh[i%300].ID); err != nil || !ok {
						return fmt.Errorf("message %d is there: %v, %w", i%300, ok, err)
					}
					return nil
				}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
				return err
			})
			until(func(i int) error { return w.db.AppendHistory(t.Context(), fresh[i%300:i%300+1]) })
		}
		for {
			_, err := w.db.MakePartition(t.Context(), span)
			if err == nil {
				break
			}
			if im.KindOf(err) != im.Unavailable { // others held it for too long
				t.Fatal(err)
			}
		}
		close(made)
		others.Wait()
	}
}
