package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/words"
)

const (
	defaultSearch = 20
	maxSearch     = 100

	window      = 200     // newest matches that are ranked among each other
	windowBytes = 4 << 20 // of them, likewise, unless the first has more

	atOnce      = 1000    // messages that are read at a time, at most
	atLeast     = 50      // likewise, however long they are
	atOnceBytes = 2 << 20 // of them

	// The work of a page: so much of it, and it ends as it is. What is guessed is
	// dearer.
	maxExamined      = 20_000
	maxExaminedBytes = 32 << 20
	maxGuessed       = 4_000
	maxGuessedBytes  = 8 << 20
	patience         = time.Second
	patienceGuessed  = 500 * time.Millisecond

	maxTime    = 5 * time.Second // for all
	snippetLen = 2 << 10         // bytes of a snippet as written, at most
)

// A store has the messages.
type store interface {
	// SearchScope returns the conversations that user may search: all that they
	// are in, or only c, or none if they are not in that.
	SearchScope(ctx context.Context, user string, c im.Conversation) ([]words.Scope, error)

	// SearchMessages returns the newest messages of a stretch that may match, and
	// whether there may be more than it may return.
	SearchMessages(ctx context.Context, scopes []words.Scope, s words.Stretch) (messages []im.Message, more bool, err error)

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
	Messages   []found `json:"messages"`
	Incomplete bool    `json:"incomplete,omitempty"` // it took too much work to come further
	Next       string  `json:"next,omitempty"`
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

func parse(req request) (query words.Query, size int, at position, err error) {
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
	at, err = begin(req)
	return query, size, at, err
}

type searcher struct {
	in           store
	user, sender string
	scopes       []words.Scope
	query        words.Query
	since        im.Place
	first        bool // no page was asked for before
}

func (s *searcher) page(ctx context.Context, at position, size int) (page, error) {
	query := s.query
	fuzzy, able := query.Fuzzy()
	if at.Fuzzy {
		query = fuzzy
	}
	got, err := s.collect(ctx, query, at)
	if err == nil && len(got.hits) == 0 && !got.more && able && s.first {
		// Nothing at all: perhaps it was misspelt.
		at.Fuzzy = true
		got, err = s.collect(ctx, fuzzy, at)
	}
	if err != nil {
		return page{}, err
	}
	hits := got.hits
	if len(hits) > 0 && at.To == cursor.Message(im.LastPlace) { // what is sent from now on belongs to no page of this search
		newest := slices.MaxFunc(hits, func(a, b hit) int { return cmp.Compare(a.message.Time, b.message.Time) })
		at.To = cursor.Message{Time: newest.message.Time + 1}
	}
	for i := range hits {
		hits[i].score = score(hits[i], at.Now)
	}
	slices.SortFunc(hits, order)
	if w := at.Within; w != nil {
		hits = slices.DeleteFunc(hits, func(h hit) bool {
			return order(h, hit{score: w.Score, message: im.Message{Time: w.Place.Time, ID: w.Place.ID}}) <= 0
		})
	}
	out := page{Messages: []found{}, Incomplete: got.stopped}
	size = im.Fit(hits, size, func(h hit) int { return h.message.WrittenLen() + snippetLen })
	rest := len(hits) > size
	for _, h := range hits[:size] {
		out.Messages = append(out.Messages, found{h.message, words.SnippetOf(words.TextOf(h.message), h.match.Marks)})
	}
	switch {
	case rest:
		shown := hits[size-1]
		next := at
		next.Within = &within{cursor.Message(got.from), shown.score, cursor.Message(shown.message.Place())}
		out.Next = cursor.Encode(next)
	case got.more:
		out.Next = cursor.Encode(position{Search: at.Search, Fuzzy: at.Fuzzy, Now: at.Now, To: cursor.Message(got.from)})
	}
	return out, nil
}

// A collection is the newest messages before a place that match: as many as a
// window has, and all of those from a place on.
type collection struct {
	hits    []hit
	from    im.Place
	more    bool // there may be others before that
	stopped bool // since it took too much work to look at them
}

// work is what a page may still do.
type work struct {
	messages, bytes int
	until           time.Time
}

func workOf(guessed, within bool) work {
	w := work{maxExamined, maxExaminedBytes, time.Now().Add(patience)}
	if guessed {
		w = work{maxGuessed, maxGuessedBytes, time.Now().Add(patienceGuessed)}
	}
	if within {
		w.messages, w.bytes, w.until = 2*w.messages, 2*w.bytes, w.until.Add(maxTime)
	}
	return w
}

func (w *work) done() bool { return w.messages <= 0 || w.bytes <= 0 || time.Now().After(w.until) }

// collect collects the messages before at.To. Of a window that is known it
// returns all.
//
// It goes back in time in stretches that get longer until there are enough
// messages in one: what was said yesterday is found without looking at years.
func (s *searcher) collect(ctx context.Context, query words.Query, at position) (got collection, err error) {
	from, most, bytes := s.since, window, windowBytes
	if at.Within != nil {
		// Edited ones may have joined them. Not for ever: who wrote the cursor is not known.
		from, most, bytes = im.Place(at.Within.From), 2*window, 2*windowBytes
	}
	left := workOf(at.Fuzzy, at.Within != nil)
	stretch := words.Stretch{To: im.Place(at.To), Sender: s.sender, Filters: query.Filters(), Limit: atOnce, Bytes: atOnceBytes}
	upto := min(at.To.Time, at.Now)
	width := max(day, (at.Now-upto)/16) // who has come far goes on as they came
	for {
		stretch.From = from
		if width < forever && upto-width > from.Time {
			stretch.From = im.Place{Time: upto - width}
		}
		messages, full, err := s.in.SearchMessages(ctx, s.scopes, stretch)
		if err != nil {
			return got, fmt.Errorf("searching: %w", err)
		}
		matching, examined, err := s.matching(ctx, query, messages, &left)
		if err != nil {
			return got, err
		}
		got.hits = append(got.hits, matching...)
		if n := enough(got.hits, most, bytes); n > 0 {
			got.hits = got.hits[:n]
			got.from, got.more = got.hits[n-1].message.Place(), true
			return got, nil
		}
		if full || examined < len(messages) {
			full = true
			stretch.To = messages[examined-1].Place()
			width = max(width/4, hour)
		} else {
			stretch.To = stretch.From
			if len(messages) < atOnce/4 {
				width *= 4
			}
		}
		switch {
		case !full && stretch.From == from:
			got.from, got.more = from, at.Within != nil && s.since.Less(from)
			return got, nil
		case left.done():
			got.from, got.more, got.stopped = stretch.To, true, true
			return got, nil
		}
		if full { // of long ones no more are read than are looked at
			stretch.Limit = min(max(2*examined, atLeast), atOnce)
		}
		upto = min(stretch.To.Time, upto)
	}
}

// enough returns how many of hits make a window, or 0 if they do not.
func enough(hits []hit, most, bytes int) int {
	for i, h := range hits {
		if bytes -= h.message.WrittenLen(); bytes < 0 || i+1 == most {
			return i + 1
		}
	}
	return 0
}

const (
	hour    = im.Time(time.Hour / time.Microsecond)
	day     = 24 * hour
	forever = 1000 * day // from there on all that is left is looked at at once
)

// matching returns those of messages that match and that the caller has not
// deleted for themselves, and how many it looked at: all, one at least, unless
// that is more than is left to do.
func (s *searcher) matching(ctx context.Context, query words.Query, messages []im.Message, left *work) (hits []hit, examined int, err error) {
	var keys []im.EntryKey
	for _, m := range messages {
		if examined > 0 && left.done() {
			break
		}
		examined++
		left.messages--
		left.bytes -= len(m.Text)
		if match, ok := query.Match(words.TextOf(m)); ok {
			hits = append(hits, hit{message: m, match: match})
			keys = append(keys, s.key(m))
		}
	}
	if len(hits) == 0 {
		return nil, examined, nil
	}
	deleted, err := s.in.DeletedMessages(ctx, keys)
	if err != nil {
		return nil, 0, fmt.Errorf("asking what was deleted: %w", err)
	}
	return slices.DeleteFunc(hits, func(h hit) bool { return deleted[s.key(h.message)] }), examined, nil
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
