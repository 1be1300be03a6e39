package words

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxQuery = 200 // characters
	maxWords = 16
)

// A Query is what is searched for: each of its words has to be in a text.
type Query struct {
	words  []word
	phrase string // the words as they stand in the query
	fuzzy  bool
}

// A word is letters, or characters of a script that is written without spaces.
type word struct {
	runes []rune
	class class
}

// Parse reads a query. Whatever is neither letter, digit nor emoji only
// separates words: there are no operators. A query may be without words: it
// matches nothing.
func Parse(q string) (Query, error) {
	if n := utf8.RuneCountInString(q); n > maxQuery {
		return Query{}, im.Errorf(im.TooLarge, "a search is %d characters at most, not %d", maxQuery, n)
	}
	f := fold(q)
	query := Query{phrase: f.plain()}
	f.runs(func(c class, from, to int) {
		w := word{f.runes[from:to], c}
		if !slices.ContainsFunc(query.words, func(had word) bool { return had.class == c && slices.Equal(had.runes, w.runes) }) {
			query.words = append(query.words, w)
		}
	})
	switch {
	case q == "":
		return Query{}, im.Errorf(im.Invalid, `say in "q" what to look for`)
	case len(query.words) > maxWords:
		return Query{}, im.Errorf(im.Invalid, "a search has %d words at most, not %d", maxWords, len(query.words))
	}
	return query, nil
}

// Empty reports whether q has no words.
func (q Query) Empty() bool { return len(q.words) == 0 }

// Fuzzy returns a query that also finds words that were misspelt, and whether
// q has words that are long enough for that.
func (q Query) Fuzzy() (Query, bool) {
	able := slices.ContainsFunc(q.words, func(w word) bool { return w.typos() > 0 })
	q.fuzzy = able
	return q, able
}

// typos returns how many letters may be wrong in a word.
func (w word) typos() int {
	switch {
	case w.class != letter || len(w.runes) < 4:
		return 0
	case len(w.runes) < 8:
		return 1
	}
	return 2
}

// maxAlternatives is the most filters that a query that forgives typos asks for.
const maxAlternatives = 9

// Filters returns filters of which a text that matches covers one, at least.
func (q Query) Filters() []Filter {
	all := make([]Filter, 1)
	for _, w := range q.words {
		parts := [][2]int{{0, len(w.runes)}}
		if q.fuzzy {
			parts = w.parts()
		}
		if len(all)*len(parts) > maxAlternatives {
			continue // a filter less finds more
		}
		next := make([]Filter, 0, len(all)*len(parts))
		for i := range all {
			for _, p := range parts {
				f := all[i]
				w.require(&f, p[0], p[1])
				next = append(next, f)
			}
		}
		all = next
	}
	return all
}

// parts returns parts of a word of which one, at least, is right although there
// are typos in it. Those in the first letters of a short word are not forgiven.
func (w word) parts() [][2]int {
	n := len(w.runes)
	switch w.typos() {
	case 0:
		return [][2]int{{0, n}}
	case 1:
		if n < 6 {
			return [][2]int{{0, 2}}
		}
		return [][2]int{{0, n / 2}, {n / 2, n}}
	}
	return [][2]int{{0, n / 3}, {n / 3, 2 * n / 3}, {2 * n / 3, n}}
}

// require adds to f the grams that a text has if it has this part of the word.
func (w word) require(f *Filter, from, to int) {
	part := w.runes[from:to]
	if w.class == gram {
		for i := range part {
			f.set(part[i : i+1])
			if i+1 < len(part) {
				f.set(part[i : i+2])
			}
		}
		return
	}
	for i := range max(0, len(part)-2) {
		f.set(part[i : i+3])
	}
	if len(part) < 3 && from == 0 {
		f.begin(part)
	}
}

// plain returns the words of a text with a space between those that something
// separates.
func (f *folded) plain() string {
	var b strings.Builder
	gap := false
	for i, r := range f.runes {
		if f.class[i] == separator {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
