package words

import (
	"cmp"
	"slices"
	"strings"
)

// A Mark is a part of a text that matches, in characters (code points): the
// first, and the one after the last.
type Mark struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// A Match is how a text matches a query.
type Match struct {
	Quality float64 // 0 to 2: whole words more than parts, the phrase more than its words
	Marks   []Mark  // in order, apart from each other
}

// maxMarks is how many places of each word are marked in a text.
const maxMarks = 50

// How well a word of a query is met.
const (
	wholeWord = 1.0
	beginning = 0.6
	within    = 0.3
	misspelt  = 0.2
)

// Match returns how a text matches, and false if it does not. A word of three
// letters or more is found anywhere in a word, one of two at the beginning, a
// single one as a word. What is of scripts without spaces is found anywhere.
func (q Query) Match(text string) (Match, bool) {
	if q.Empty() {
		return Match{}, false
	}
	f := folds.Get().(*folded)
	defer folds.Put(f)
	f.fold(clip(text))
	var m Match
	for _, w := range q.words {
		best := 0.0
		found := 0
		note := func(quality float64, from, to int) {
			best = max(best, quality)
			if found++; found <= maxMarks {
				m.Marks = append(m.Marks, Mark{int(f.start[from]), int(f.end[to-1])})
			}
		}
		w.find(f, note)
		if found == 0 && q.fuzzy {
			w.findMisspelt(f, note)
		}
		if found == 0 {
			return Match{}, false
		}
		m.Quality += best / float64(len(q.words))
	}
	if len(q.words) > 1 && strings.Contains(f.plain(), q.phrase) {
		m.Quality++
	}
	m.Marks = merged(m.Marks)
	return m, true
}

func (w word) find(f *folded, note func(quality float64, from, to int)) {
	n := len(w.runes)
	for i := 0; i+n <= len(f.runes); i++ {
		if f.runes[i] != w.runes[0] || !slices.Equal(f.runes[i:i+n], w.runes) {
			continue
		}
		if w.class == gram {
			note(wholeWord, i, i+n)
			i += n - 1
			continue
		}
		begins := i == 0 || f.class[i-1] != letter
		ends := i+n == len(f.runes) || f.class[i+n] != letter
		switch {
		case begins && ends:
			note(wholeWord, i, i+n)
		case begins && n > 1:
			note(beginning, i, i+n)
		case n > 2:
			note(within, i, i+n)
		default:
			continue
		}
		i += n - 1
	}
}

// findMisspelt finds words that differ from w by a few letters.
func (w word) findMisspelt(f *folded, note func(quality float64, from, to int)) {
	most := w.typos()
	if most == 0 {
		return
	}
	f.runs(func(c class, from, to int) {
		if d := to - from - len(w.runes); c == letter && d <= most && -d <= most && close(w.runes, f.runes[from:to], most) {
			note(misspelt, from, to)
		}
	})
}

// close reports whether at most so many letters are to be inserted, removed,
// replaced or swapped with their neighbour to make b of a (the optimal string
// alignment distance). Of its table only the diagonal that can be as near is
// looked at (Ukkonen, Algorithms for approximate string matching, 1985), and no
// more of it once all of two rows is further.
func close(a, b []rune, most int) bool {
	var rows [3][maxQuery + 4]int16 // b is no longer than a and most
	if len(a)+most+2 > len(rows[0]) {
		return slices.Equal(a, b) // one character of a query may be many
	}
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = int16(j)
	}
	nearer, far := int16(0), int16(most+1) // the least of the last row
	for i := 1; i <= len(a); i++ {
		from, to := max(1, i-most), min(len(b), i+most)
		row[from-1], row[to+1] = far, far
		if from == 1 {
			row[0] = int16(i)
		}
		nearest := row[from-1]
		for j := from; j <= to; j++ {
			change := int16(1)
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			nearest = min(nearest, row[j])
		}
		if nearest >= far && nearer >= far { // a swap reaches over one row
			return false
		}
		nearer = nearest
		before, last, row = last, row, before
	}
	return last[len(b)] < far
}

// merged returns marks in order, those that touch as one.
func merged(marks []Mark) []Mark {
	slices.SortFunc(marks, func(a, b Mark) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	out := marks[:0]
	for _, m := range marks {
		if n := len(out); n > 0 && m.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, m.End)
			continue
		}
		out = append(out, m)
	}
	return out
}

// A Snippet is a part of a text, as it is written, and what in it matches.
type Snippet struct {
	Text  string `json:"text"`
	Marks []Mark `json:"marks"`
}

const (
	snippetLen  = 160 // characters
	snippetLead = 40  // of them before the first match
)

// SnippetOf returns the part of a text that is around its first mark. It is
// plain text: what shows it as HTML has to escape it.
func SnippetOf(text string, marks []Mark) Snippet {
	chars := []rune(text)
	from := 0
	if len(marks) > 0 && len(chars) > snippetLen {
		from = max(0, min(marks[0].Start-snippetLead, len(chars)-snippetLen))
	}
	to := min(len(chars), from+snippetLen)
	s := Snippet{Text: string(chars[from:to]), Marks: []Mark{}}
	for _, m := range marks {
		if m.Start < to && m.End > from {
			s.Marks = append(s.Marks, Mark{max(m.Start, from) - from, min(m.End, to) - from})
		}
	}
	return s
}
