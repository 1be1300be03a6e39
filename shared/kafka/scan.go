package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// Scan calls f with each record that a topic holds now, one partition after
// the other, from the offsets given, or the first there is. It belongs to no
// group. It ends with the error of f, or with ctx.
func Scan(ctx context.Context, env *proc.Env, topic string, from map[int]int64, f func(Record) error) error {
	c, err := openCluster(env)
	if err != nil {
		return err
	}
	n, err := c.awaitPartitions(ctx, topic)
	if err != nil {
		return fmt.Errorf("reading %s: %w", topic, err)
	}
	for p := range n {
		first, end, err := c.offsets(ctx, topic, p)
		if err != nil {
			return im.Wrap(im.Unavailable, err, "reading %s", topic)
		}
		r := reader{cluster: c, topic: topic, partition: p, next: max(first, from[p]), maxBytes: defaultFetchBytes}
		for r.next < end {
			records, err := r.read(ctx)
			if err != nil {
				return fmt.Errorf("reading %s: %w", topic, err)
			}
			for _, rec := range records {
				if rec.Offset >= end {
					break
				}
				if err := f(rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Committed returns the offsets that a group without members has committed for
// the partitions of a topic. Those without one are left out.
func Committed(ctx context.Context, env *proc.Env, group, topic string) (map[int]int64, error) {
	c, err := openCluster(env)
	if err != nil {
		return nil, err
	}
	n, err := c.awaitPartitions(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("reading the offsets of %s: %w", group, err)
	}
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	res, err := c.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafkago.GroupIdNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, im.Wrap(im.Unavailable, err, "reading the offsets of %s", group)
	}
	offsets := make(map[int]int64)
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, im.Wrap(im.Unavailable, p.Error, "reading the offsets of %s", group)
		}
		if p.CommittedOffset >= 0 {
			offsets[p.Partition] = p.CommittedOffset
		}
	}
	return offsets, nil
}

// Commit sets the offsets of a group without members.
func Commit(ctx context.Context, env *proc.Env, group, topic string, offsets map[int]int64) error {
	c, err := openCluster(env)
	if err != nil || len(offsets) == 0 {
		return err
	}
	var commits []kafkago.OffsetCommit
	for p, offset := range offsets {
		commits = append(commits, kafkago.OffsetCommit{Partition: p, Offset: offset})
	}
	res, err := c.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafkago.OffsetCommit{topic: commits},
	})
	if err != nil {
		return im.Wrap(im.Unavailable, err, "committing the offsets of %s", group)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return im.Wrap(im.Unavailable, p.Error, "committing the offsets of %s", group)
		}
	}
	return nil
}
