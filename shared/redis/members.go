package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	membersTTL  = 10 * time.Minute
	membersKept = 512             // groups decoded in the process: 32 MiB, were they all as large as a group may be
	fillTime    = 5 * time.Second // that a group may take to be read
	fillsAtOnce = 8               // groups read at a time for one call
)

// A MemberSource is where the members of groups are kept.
type MemberSource interface {
	// GroupMembers returns the members of those groups that exist.
	GroupMembers(ctx context.Context, groups []string) (map[string]im.Members, error)
}

// Members are the members of groups, read through a cache. Redis says which
// version is the newest, so that no process is behind another; the lists
// themselves are kept decoded in the process. Without Redis the source is read
// each time.
type Members struct {
	cache   versioned
	from    MemberSource
	fills   singleflight.Group
	decoded *lru.Cache[string, im.Members] // by group, of the version last read
}

// NewMembers returns the members of groups, read from a source through a cache.
func (c *Client) NewMembers(from MemberSource) *Members {
	decoded, _ := lru.New[string, im.Members](membersKept) // fails only for a size below 1
	return &Members{cache: versioned{c, "members", membersTTL}, from: from, decoded: decoded}
}

// Members returns the members of a group, which the caller does not change.
// The error is NotFound if there is no such group.
func (m *Members) Members(ctx context.Context, group string) ([]string, error) {
	got, err := m.read(ctx, []string{group})
	if err != nil {
		return nil, err
	}
	if _, ok := got[group]; !ok {
		return nil, im.Errorf(im.NotFound, "there is no such group")
	}
	return got[group].Users, nil
}

// Groups returns the members of those groups that exist, which the caller does
// not change.
func (m *Members) Groups(ctx context.Context, groups []string) (map[string][]string, error) {
	got, err := m.read(ctx, groups)
	if err != nil {
		return nil, err
	}
	of := make(map[string][]string, len(got))
	for group, members := range got {
		of[group] = members.Users
	}
	return of, nil
}

// AreMembers answers each question, in order. Nobody is in a group that does
// not exist.
func (m *Members) AreMembers(ctx context.Context, ask []im.Membership) ([]bool, error) {
	groups := make(map[string]bool, len(ask))
	for _, a := range ask {
		groups[a.Group] = true
	}
	got, err := m.read(ctx, slices.Collect(maps.Keys(groups)))
	if err != nil {
		return nil, err
	}
	are := make([]bool, len(ask))
	for i, a := range ask {
		_, are[i] = slices.BinarySearch(got[a.Group].Users, a.User)
	}
	return are, nil
}

// Invalidate makes every process read a group again whose members are older
// than version.
func (m *Members) Invalidate(ctx context.Context, group string, version int64) error {
	return unavailable("invalidating the members of a group", m.cache.invalidate(ctx, group, version))
}

// read returns the members of those groups that exist.
func (m *Members) read(ctx context.Context, groups []string) (map[string]im.Members, error) {
	out := make(map[string]im.Members, len(groups))
	if len(groups) == 0 {
		return out, nil
	}
	versions, err := m.cache.versions(ctx, groups)
	cached := err == nil // without Redis: as if nothing were cached
	var rest []string
	for _, g := range groups {
		had, ok := m.decoded.Get(g)
		if want, known := versions[g]; ok && known && had.Version == want {
			out[g] = had
		} else {
			rest = append(rest, g)
		}
	}
	got := make([]*im.Members, len(rest))
	fills, ctx := errgroup.WithContext(ctx)
	fills.SetLimit(fillsAtOnce)
	for i, g := range rest {
		fills.Go(func() (err error) {
			got[i], err = m.fill(ctx, g, cached)
			return err
		})
	}
	if err := fills.Wait(); err != nil {
		return nil, err
	}
	for i, g := range rest {
		if got[i] != nil {
			out[g] = *got[i]
		}
	}
	return out, nil
}

// fill returns the members of a group, nil if there is none, from the cache or
// from the source. However many ask at once, one reads.
func (m *Members) fill(ctx context.Context, group string, cached bool) (*im.Members, error) {
	done := m.fills.DoChan(group, func() (any, error) {
		// Whoever asked first may give up; the others have not.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fillTime)
		defer cancel()
		return m.readOne(ctx, group, cached)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.Err != nil {
			return nil, fmt.Errorf("reading the members of group %s: %w", group, r.Err)
		}
		return r.Val.(*im.Members), nil
	}
}

func (m *Members) readOne(ctx context.Context, group string, cached bool) (*im.Members, error) {
	if cached {
		version, data, ok, err := m.cache.get(ctx, group)
		if err == nil && ok {
			got := im.Members{Version: version}
			if data != "" {
				got.Users = strings.Split(data, ",")
			}
			m.decoded.Add(group, got)
			return &got, nil
		}
		cached = err == nil
	}
	found, err := m.from.GroupMembers(ctx, []string{group})
	if err != nil {
		return nil, err
	}
	got, ok := found[group]
	if !ok {
		return nil, nil
	}
	slices.Sort(got.Users) // a database may have another idea of order
	if cached && m.cache.put(ctx, group, got.Version, strings.Join(got.Users, ",")) == nil {
		m.decoded.Add(group, got)
	}
	return &got, nil
}
