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
}

func (p *people) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	p.asked = append(p.asked, pairs)
	return p.of, p.err
}

func TestRelationsAreReadOnceAndForAShortTime(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		src := people{of: map[im.Pair]im.Relation{}}
		var pairs []im.Pair
		for i := range 8 { // every relation there can be
			pair := im.PairOf("ann", string(rune('b'+i)))
			pairs = append(pairs, pair)
			src.of[pair] = im.Relation{Exist: i&1 > 0, Blocked: i&2 > 0, Friends: i&4 > 0}
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
		if ttl := c.rdb.PTTL(t.Context(), relationKey(pairs[3])).Val(); ttl <= 0 || ttl > relationTTL {
			t.Errorf("a relation is believed for %s", ttl)
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
