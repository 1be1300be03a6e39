package redis

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// people is a RelationSource.
type people struct {
	of    map[im.Pair]im.Relation
	err   error
	asked [][]im.Pair
	read  func() // called in the middle of each read
}

func (p *people) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	p.asked = append(p.asked, pairs)
	of := maps.Clone(p.of)
	if p.read != nil {
		p.read()
	}
	return of, p.err
}

func TestRelationsAreReadOnceAndForAShortTime(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		src := people{of: map[im.Pair]im.Relation{}}
		var pairs []im.Pair
		for i := range 8 { // every relation there can be
			pair := im.PairOf("ann", string(rune('b'+i)))
			pairs = append(pairs, pair)
			src.of[pair] = im.Relation{Exist: i&1 > 0, Blocked: i&2 > 0, Friends: i&4 > 0, Version: int64(i) << 40}
		}
		c := open(t, url)
		a, b := c.NewRelations(&src), c.NewRelations(&src)
		for range 2 {
			for _, r := range []*Relations{a, b} {
				got, err := r.Relations(t.Context(), pairs)
				if err != nil || !maps.Equal(got, src.of) {
					t.Errorf("Relations = %v, %v", got, err)
				}
			}
		}
		more := im.PairOf("cleo", "dave")
		got, err := a.Relations(t.Context(), append([]im.Pair{more}, pairs[:2]...))
		if err != nil || len(got) != 3 || got[more] != (im.Relation{}) || got[pairs[1]] != src.of[pairs[1]] {
			t.Errorf("Relations = %v, %v", got, err)
		}
		if len(src.asked) != 2 || len(src.asked[0]) != 8 || len(src.asked[1]) != 1 {
			t.Errorf("the source was asked %v", src.asked)
		}
		if ttl := c.rdb.PTTL(t.Context(), a.cache.key(relationID(pairs[3]))).Val(); ttl <= 0 || ttl > relationTTL {
			t.Errorf("a relation is believed for %s", ttl)
		}
	})
}

func TestRelationsThatChangeAreReadAgainByAll(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		pair, other := im.PairOf("ann", "bob"), im.PairOf("ann", "cleo")
		src := people{of: map[im.Pair]im.Relation{pair: {Exist: true}, other: {Exist: true}}}
		a, b := open(t, url).NewRelations(&src), open(t, url).NewRelations(&src)
		read := func(want im.Relation) {
			t.Helper()
			for _, r := range []*Relations{a, b} {
				if got, err := r.Relations(t.Context(), []im.Pair{pair, other}); err != nil || got[pair] != want || !got[other].Exist {
					t.Errorf("Relations = %v, %v; want %v", got, err, want)
				}
			}
		}
		read(im.Relation{Exist: true})
		for v := range int64(3) {
			now := im.Relation{Exist: true, Blocked: v%2 == 0, Version: v + 1}
			src.of[pair] = now
			for range 2 { // before the change is committed, and after
				if err := a.cache.client.Withdraw(t.Context(), []im.Stale{{Pair: pair, Version: now.Version}}); err != nil {
					t.Fatal(err)
				}
			}
			read(now)
			if err := a.cache.client.Withdraw(t.Context(), []im.Stale{{Pair: pair, Version: now.Version}}); err != nil { // late
				t.Fatal(err)
			}
			read(now)
		}
		if len(src.asked) != 4 {
			t.Errorf("the source was asked %v", src.asked)
		}
	})
}

func TestASlowReaderDoesNotBringBackAnOldRelation(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		pair := im.PairOf("ann", "bob")
		c := open(t, url)
		for _, tt := range []struct {
			name   string
			filled bool // another has read the new one before the slow one comes to write
		}{{"before anybody has read the new one", false}, {"after somebody has read the new one", true}} {
			t.Run(tt.name, func(t *testing.T) {
				wipe(t, c)
				src := people{of: map[im.Pair]im.Relation{pair: {Exist: true, Version: 4}}}
				slow, fast := c.NewRelations(&src), c.NewRelations(&src)
				blocked := im.Relation{Exist: true, Blocked: true, Version: 5}
				src.read = func() { // the block comes between the read and the write of the slow one
					src.read = nil
					src.of[pair] = blocked
					if err := c.Withdraw(t.Context(), []im.Stale{{Pair: pair, Version: 5}}); err != nil {
						t.Error(err)
					}
					if tt.filled {
						if got, err := fast.Relations(t.Context(), []im.Pair{pair}); err != nil || got[pair] != blocked {
							t.Errorf("Relations = %v, %v", got, err)
						}
					}
				}
				if _, err := slow.Relations(t.Context(), []im.Pair{pair}); err != nil {
					t.Fatal(err)
				}
				for _, r := range []*Relations{slow, fast} {
					if got, err := r.Relations(t.Context(), []im.Pair{pair}); err != nil || got[pair] != blocked {
						t.Errorf("Relations = %v, %v", got, err)
					}
				}
			})
		}
	})
}

func TestManyRelationsAreWithdrawnAtOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		src := people{of: map[im.Pair]im.Relation{}}
		var pairs []im.Pair
		stale := []im.Stale{{Group: "x", Version: 2}}
		for range 2*maxPipeline + 1 {
			pair := im.PairOf("ann", im.NewID())
			pairs, src.of[pair] = append(pairs, pair), im.Relation{Exist: true, Friends: true, Version: 7}
			stale = append(stale, im.Stale{Pair: pair, Version: 8})
		}
		c := open(t, url)
		r := c.NewRelations(&src)
		var groups groups
		groups.set("x", 1, "ann")
		m := c.NewMembers(&groups)
		members1(t, m, "x")
		if _, err := r.Relations(t.Context(), pairs); err != nil {
			t.Fatal(err)
		}
		if err := c.Withdraw(t.Context(), stale); err != nil {
			t.Fatal(err)
		}
		for p := range src.of {
			src.of[p] = im.Relation{Exist: true, Version: 8}
		}
		groups.set("x", 2)
		if got, err := r.Relations(t.Context(), pairs); err != nil || !maps.Equal(got, src.of) {
			t.Errorf("%d relations, %v", len(got), err)
		}
		if got := members1(t, m, "x"); got != "[]" {
			t.Errorf("members = %s", got)
		}
	})
}

func TestRelationsThatCannotBeReadAreNotKept(t *testing.T) {
	src := people{err: im.Unavailable}
	r := open(t, imtest.Redis(t)).NewRelations(&src)
	pair := im.PairOf("ann", "bob")
	if _, err := r.Relations(t.Context(), []im.Pair{pair}); !errors.Is(err, im.Unavailable) {
		t.Errorf("error = %v", err)
	}
	src.err, src.of = nil, map[im.Pair]im.Relation{pair: {Exist: true}}
	if got, err := r.Relations(t.Context(), []im.Pair{pair}); err != nil || !got[pair].Exist {
		t.Errorf("Relations = %v, %v", got, err)
	}
}

func TestRelationsWithoutRedisComeFromTheSource(t *testing.T) {
	s := imtest.Start(t, "redis")
	pair := im.PairOf("ann", "bob")
	src := people{of: map[im.Pair]im.Relation{pair: {Exist: true}}}
	r := open(t, s.URL).NewRelations(&src)
	s.Kill()
	for range 2 {
		if got, err := r.Relations(t.Context(), []im.Pair{pair}); err != nil || !got[pair].Exist {
			t.Errorf("Relations = %v, %v", got, err)
		}
	}
	if len(src.asked) != 2 {
		t.Errorf("the source was asked %d times", len(src.asked))
	}
}

func BenchmarkRelations(b *testing.B) {
	src := people{of: map[im.Pair]im.Relation{}}
	var pairs []im.Pair
	for range 64 {
		pair := im.PairOf(im.NewID(), im.NewID())
		pairs, src.of[pair] = append(pairs, pair), im.Relation{Exist: true}
	}
	c := open(b, imtest.Redis(b))
	r := c.NewRelations(&src)
	for name, prepare := range map[string]func(){"known": func() {}, "missing": func() { wipe(b, c) }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				prepare()
				src.asked = nil
				b.StartTimer()
				if got, err := r.Relations(b.Context(), pairs); err != nil || len(got) != 64 {
					b.Fatal(got, err)
				}
			}
		})
	}
}
