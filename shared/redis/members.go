package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	// membersTTL is by how long a list can be out of date after a Redis that has
	// copies, or writes to disk, came back with what it knew before a change.
	membersTTL = 2 * time.Minute

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
//
// Whoever asks after a change was made is answered by it, or by a later one,
// even if Redis has lost its memory meanwhile: a cache is complete or absent.
type Members struct {
	cache   versioned
	from    MemberSource
	fills   rounds[*im.Members]
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
	got, err := m.Of(ctx, []string{group})
	if err != nil {
		return nil, err
	}
	if _, ok := got[group]; !ok {
		return nil, im.NoGroup()
	}
	return got[group].Users, nil
}

// Of returns the members of those groups that exist, which the caller does not
// change.
func (m *Members) Of(ctx context.Context, groups []string) (map[string]im.Members, error) {
	out := make(map[string]im.Members, len(groups))
	if len(groups) == 0 {
		return out, nil
	}
	groups = slices.Compact(slices.Sorted(slices.Values(groups)))
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
// from the source, as they are after this call or later. However many ask at
// once, one reads.
func (m *Members) fill(ctx context.Context, group string, cached bool) (*im.Members, error) {
	got, err := m.fills.do(ctx, group, func() (*im.Members, error) {
		// Whoever asked first may give up; the others have not.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fillTime)
		defer cancel()
		return m.readOne(ctx, group, cached)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the members of group %s: %w", group, err)
	}
	return got, nil
}

func (m *Members) readOne(ctx context.Context, group string, cached bool) (*im.Members, error) {
	var lease string
	if cached {
		version, data, got, err := m.cache.take(ctx, group)
		if err == nil && got == "" {
			if members, ok := readMembers(version, data); ok {
				m.decoded.Add(group, members)
				return &members, nil
			}
		}
		lease = got
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
	if lease != "" {
		if kept, err := m.cache.keep(ctx, group, got.Version, writeMembers(got), lease, m.cache.ttl); err == nil && kept {
			m.decoded.Add(group, got)
		}
	}
	return &got, nil
}

// Members are written as five fields with a | between them, which no id has in
// it: users, owner and admins, who is muted until which microsecond, whether
// all are, and how many seconds one waits between two messages.

func writeMembers(m im.Members) string {
	var muted []string
	for user, until := range m.MutedUntil {
		muted = append(muted, user+"="+strconv.FormatInt(int64(until), 10))
	}
	all := ""
	if m.Muted {
		all = "all"
	}
	return strings.Join([]string{strings.Join(m.Users, ","), strings.Join(m.Staff, ","), strings.Join(muted, ","), all, strconv.Itoa(m.Slow)}, "|")
}

// readMembers reads what writeMembers wrote, and reports whether it did.
func readMembers(version int64, data string) (m im.Members, ok bool) {
	fields := strings.Split(data, "|")
	if len(fields) != 5 {
		return m, false
	}
	slow, err := strconv.Atoi(fields[4])
	if err != nil {
		return m, false
	}
	m = im.Members{Version: version, Users: list(fields[0]), Staff: list(fields[1]), Muted: fields[3] != "", Slow: slow}
	for _, entry := range list(fields[2]) {
		user, until, _ := strings.Cut(entry, "=")
		at, err := strconv.ParseInt(until, 10, 64)
		if err != nil {
			return m, false
		}
		if m.MutedUntil == nil {
			m.MutedUntil = make(map[string]im.Time)
		}
		m.MutedUntil[user] = im.Time(at)
	}
	return m, true
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
