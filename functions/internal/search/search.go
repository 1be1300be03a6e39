package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/words"
)

const (
	defaultSearch = 20
	maxSearch     = 100

	window      = 200             // newest matches that are ranked among each other
	atOnce      = 1000            // messages that are read at a time
	maxExamined = 20_000          // messages that are read for a page
	maxGuessed  = 4_000           // likewise, if typos are forgiven
	patience    = time.Second     // after which a page ends as it is
	maxTime     = 5 * time.Second // for all
)

// A store has the messages.
type store interface {
	// SearchScope returns the conversations that user may search: all that they
	// are in, or only c, or none if they are not in that.
	SearchScope(ctx context.Context, user string, c im.Conversation) ([]words.Scope, error)

	// SearchMessages returns the newest messages of a stretch that may match.
	SearchMessages(ctx context.Context, scopes []words.Scope, s words.Stretch) ([]im.Message, error)

	// DeletedMessages returns those of keys whose user has deleted the message
	// for themselves.
	DeletedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error)
}

type limiter interface {
	// Allow counts a search. Overloaded: there were too many.
	Allow(ctx context.Context, user string) error
}

type request struct {
	Query        string          `json:"q"`
	Conversation im.Conversation `json:"conversation"` // "" is all of the caller's
	From         string          `json:"from"`         // who sent it; "" is anybody
	Since        im.Time         `json:"since"`
	Until        im.Time         `json:"until"` // before; 0 is now
	Limit        int             `json:"limit"`
	Cursor       string          `json:"cursor"`
}

type found struct {
	Message im.Message    `json:"message"`
	Snippet words.Snippet `json:"snippet"`
}

// A page is a part of what matches. It may have fewer than were asked for, or
// none, and still a next one: then the search has not come to its end.
type page struct {
	Messages []found `json:"messages"`
	Next     string  `json:"next,omitempty"`
}

// A hit is a message that matches.
type hit struct {
	message im.Message
	match   words.Match
	score   float64
}

// search finds messages in windows, the newest first: of the messages of a window, which are
// the 200 that match and were sent last, those that match better and were sent
// later come first.
func search(in store, limit limiter) func(context.Context, im.Caller, request) (page, error) {
	return func(ctx context.Context, caller im.Caller, req request) (page, error) {
		ctx, cancel := context.WithTimeout(ctx, maxTime)
		defer cancel()
		query, size, at, err := parse(req)
		if err != nil {
			return page{}, err
		}
		if err := limit.Allow(ctx, caller.User); err != nil {
			return page{}, err
		}
		scopes, err := in.SearchScope(ctx, caller.User, req.Conversation)
		if err != nil {
			return page{}, fmt.Errorf("asking what may be searched: %w", err)
		}
		if req.Conversation != "" && len(scopes) == 0 {
			return page{}, im.Errorf(im.Denied, "you are not in this conversation")
		}
		if query.Empty() {
			return page{Messages: []found{}}, nil
		}
		s := &searcher{in: in, user: caller.User, sender: req.From, scopes: scopes, query: query, since: im.Place{Time: req.Since}, first: req.Cursor == ""}
		return s.page(ctx, at, size)
	}
}

func parse(req request) (query words.Query, size int, at cursor, err error) {
	if query, err = words.Parse(req.Query); err != nil {
		return query, 0, at, err
	}
	if size, err = im.Limit(req.Limit, defaultSearch, maxSearch); err != nil {
		return query, 0, at, err
	}
	if req.Conversation != "" {
		if err := req.Conversation.Check(); err != nil {
			return query, 0, at, err
		}
	}
	switch {
	case req.From != "" && !im.IsID(req.From):
		return query, 0, at, im.Errorf(im.Invalid, `"from" is the id of a user, not %.40q`, req.From)
	case req.Since < 0 || req.Since > im.LastPlace.Time || req.Until < 0 || req.Until > im.LastPlace.Time:
		return query, 0, at, im.Errorf(im.Invalid, `"since" and "until" are times from 1970 to 9999`)
	}
	if req.Cursor != "" {
		at, err = parseCursor(req.Cursor, of(req))
		return query, size, at, err
	}
	at = cursor{search: of(req), now: im.Now(), to: im.LastPlace}
	if req.Until > 0 {
		at.to = im.Place{Time: req.Until}
	}
	return query, size, at, nil
}

type searcher struct {
	in           store
	user, sender string
	scopes       []words.Scope
	query        words.Query
	since        im.Place
	first        bool // no page was asked for before
}

func (s *searcher) page(ctx context.Context, at cursor, size int) (page, error) {
	query := s.query
	fuzzy, able := query.Fuzzy()
	if at.fuzzy {
		query = fuzzy
	}
	hits, from, more, err := s.collect(ctx, query, at)
	if err == nil && len(hits) == 0 && !more && able && s.first {
		// Nothing at all: perhaps it was misspelt.
		at.fuzzy = true
		hits, from, more, err = s.collect(ctx, fuzzy, at)
		more = more && len(hits) > 0 // it is a guess, and not made twice
	}
	if err != nil {
		return page{}, err
	}
	if len(hits) > 0 && at.to == im.LastPlace { // what is sent from now on belongs to no page of this search
		newest := slices.MaxFunc(hits, func(a, b hit) int { return cmp.Compare(a.message.Time, b.message.Time) })
		at.to = im.Place{Time: newest.message.Time + 1}
	}
	for i := range hits {
		hits[i].score = score(hits[i], at.now)
	}
	slices.SortFunc(hits, order)
	if at.within {
		hits = slices.DeleteFunc(hits, func(h hit) bool {
			return order(h, hit{score: at.score, message: im.Message{Time: at.place.Time, ID: at.place.ID}}) <= 0
		})
	}
	out := page{Messages: []found{}}
	rest := len(hits) > size
	for _, h := range hits[:min(size, len(hits))] {
		out.Messages = append(out.Messages, found{h.message, words.SnippetOf(words.TextOf(h.message), h.match.Marks)})
	}
	switch {
	case rest:
		shown := hits[size-1]
		next := at
		next.within, next.from, next.score, next.place = true, from, shown.score, shown.message.Place()
		out.Next = next.String()
	case more:
		out.Next = cursor{search: at.search, fuzzy: at.fuzzy, now: at.now, to: from}.String()
	}
	return out, nil
}

// collect returns the newest messages before at.to that match, as many as a
// window has, the place from which on they are all of them, and whether there
// may be others before that. Of a window that is known it returns all.
//
// It goes back in time in stretches that get longer until there are enough
// messages in one: what was said yesterday is found without looking at years.
func (s *searcher) collect(ctx context.Context, query words.Query, at cursor) (hits []hit, from im.Place, more bool, err error) {
	from, most, toRead := s.since, window, maxExamined
	if at.fuzzy {
		toRead = maxGuessed
	}
	if at.within {
		// Edited ones may have joined them. Not for ever: who wrote the cursor is not known.
		from, most, toRead = at.from, 2*window, 2*toRead
	}
	stretch := words.Stretch{To: at.to, Sender: s.sender, Filters: query.Filters(), Limit: atOnce}
	upto := min(at.to.Time, at.now)
	width := max(day, (at.now-upto)/16) // who has come far goes on as they came
	began := time.Now()
	for examined := 0; ; {
		stretch.From = from
		if width < forever && upto-width > from.Time {
			stretch.From = im.Place{Time: upto - width}
		}
		messages, err := s.in.SearchMessages(ctx, s.scopes, stretch)
		if err != nil {
			return nil, from, false, fmt.Errorf("searching: %w", err)
		}
		examined += len(messages)
		matching, err := s.matching(ctx, query, messages)
		if err != nil {
			return nil, from, false, err
		}
		hits = append(hits, matching...)
		if len(hits) >= most {
			hits = hits[:most]
			return hits, hits[most-1].message.Place(), true, nil
		}
		full := len(messages) >= atOnce
		if full {
			stretch.To = messages[len(messages)-1].Place()
			width = max(width/4, hour)
		} else {
			stretch.To = stretch.From
			if len(messages) < atOnce/4 {
				width *= 4
			}
		}
		switch {
		case !full && stretch.From == from:
			return hits, from, at.within && s.since.Less(from), nil
		case examined >= toRead, !at.within && time.Since(began) > patience:
			return hits, stretch.To, true, nil
		}
		upto = min(stretch.To.Time, upto)
	}
}

const (
	hour    = im.Time(time.Hour / time.Microsecond)
	day     = 24 * hour
	forever = 1000 * day // from there on all that is left is looked at at once
)

// matching returns those of messages that match and that the caller has not
// deleted for themselves.
func (s *searcher) matching(ctx context.Context, query words.Query, messages []im.Message) ([]hit, error) {
	var hits []hit
	var keys []im.EntryKey
	for _, m := range messages {
		if match, ok := query.Match(words.TextOf(m)); ok {
			hits = append(hits, hit{message: m, match: match})
			keys = append(keys, s.key(m))
		}
	}
	if len(hits) == 0 {
		return nil, nil
	}
	deleted, err := s.in.DeletedMessages(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("asking what was deleted: %w", err)
	}
	return slices.DeleteFunc(hits, func(h hit) bool { return deleted[s.key(h.message)] }), nil
}

func (s *searcher) key(m im.Message) im.EntryKey {
	return im.EntryKey{User: s.user, ID: m.ID, Conversation: m.Conversation}
}

// score returns by what hits are ranked: how well one matches, and how recent it
// is. A month makes as much of a difference as whole words do to parts of them.
func score(h hit, now im.Time) float64 {
	age := max(0, float64(now-h.message.Time)/float64(30*day))
	return h.match.Quality + 1/(1+age)
}

// order is that of a window: the highest score first, and of equal ones the
// newest.
func order(a, b hit) int {
	if c := cmp.Compare(b.score, a.score); c != 0 {
		return c
	}
	switch p, q := a.message.Place(), b.message.Place(); {
	case q.Less(p):
		return -1
	case p.Less(q):
		return 1
	}
	return 0
}
