// Package words is what a search knows of text: how it is folded, so that what
// people hold for the same is the same, which grams it consists of, and where
// in it the words of a query are. It is the same in every database, whatever
// the language of that is. It does not know where texts are kept.
package words

import (
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A class says what a character is to a search.
type class byte

const (
	separator class = iota // between words
	letter                 // of a word that has an end: a letter, a digit
	gram                   // of a script that is written without spaces, or a word in itself, as emoji are
	ignored                // nothing: joiners, variation selectors, tones of skin
)

// Folded is text as it is compared: in Unicode's form NFKC (so that full-width
// letters are letters), in lower case, Latin letters without their accents.
type folded struct {
	runes []rune
	class []class
	start []int32 // of each: the first character of the text that it is of
	end   []int32 // and the one after the last
}

func (f *folded) add(r rune, start, end int) {
	c := classOf(r)
	if c == ignored {
		return
	}
	f.runes = append(f.runes, r)
	f.class = append(f.class, c)
	f.start = append(f.start, int32(start))
	f.end = append(f.end, int32(end))
}

// folds lends folded texts, which are several times as long as texts, to who
// compares one after another.
var folds = sync.Pool{New: func() any { return new(folded) }}

func fold(text string) *folded {
	f := new(folded)
	f.fold(text)
	return f
}

// fold makes f that of another text.
func (f *folded) fold(text string) {
	n := len(text)
	f.runes, f.class = slices.Grow(f.runes[:0], n), slices.Grow(f.class[:0], n)
	f.start, f.end = slices.Grow(f.start[:0], n), slices.Grow(f.end[:0], n)
	if norm.NFKC.IsNormalString(text) {
		n = 0
		for _, r := range text {
			f.add(lower(r), n, n+1)
			n++
		}
		return
	}
	var it norm.Iter
	it.InitString(norm.NFKC, text)
	n = 0
	from := 0
	for !it.Done() {
		segment := it.Next()
		to := it.Pos()
		chars := utf8.RuneCountInString(text[from:to])
		for len(segment) > 0 {
			r, size := utf8.DecodeRune(segment)
			f.add(lower(r), n, n+chars)
			segment = segment[size:]
		}
		n, from = n+chars, to
	}
}

func lower(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	if r >= 0x3000 && r < 0xa000 {
		return r
	}
	r = unicode.ToLower(r)
	switch {
	case r == 'ς':
		return 'σ'
	case r >= 0xc0 && r < 0x250, r >= 0x1e00 && r < 0x1f00:
		// A letter and its accents: the letter.
		var buf [utf8.UTFMax]byte
		if d := norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition(); len(d) > 0 {
			r, _ = utf8.DecodeRune(d)
		}
	}
	return r
}

// unspaced are the scripts that are written without spaces between words, or
// whose words are joined to what follows them.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo, unicode.Yi,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan,
}

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return letter
		}
		return separator
	case r >= 0x4e00 && r <= 0x9fff, r >= 0xac00 && r <= 0xd7a3, r >= 0x3041 && r <= 0x3096, r >= 0x30a1 && r <= 0x30fa,
		r == 'ー': // it lengthens kana, and is of no script of its own
		return gram
	case r == unicode.ReplacementChar:
		return separator
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r), r >= 0x1f3fb && r <= 0x1f3ff, r >= 0x300 && r < 0x370:
		return ignored
	case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
		if unicode.In(r, unspaced...) {
			return gram
		}
		return letter
	case unicode.Is(unicode.So, r):
		return gram
	}
	return separator
}

// runs calls do for each longest part of f that is letters only, or grams only.
func (f *folded) runs(do func(c class, from, to int)) {
	for i := 0; i < len(f.runes); {
		c, from := f.class[i], i
		for i < len(f.runes) && f.class[i] == c {
			i++
		}
		if c != separator {
			do(c, from, i)
		}
	}
}
