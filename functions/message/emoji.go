package message

import (
	"unicode"
	"unicode/utf8"

	"github.com/tidings-im/tidings/shared/im"
)

// The longest emoji that Unicode recommends has ten code points in 35 bytes: a
// kiss of two people, each with a colour of skin.
const (
	maxEmojiRunes = 10
	maxEmojiBytes = 40
)

// Code points that emoji are joined of.
const (
	joiner   = '\u200d'
	asEmoji  = '\ufe0f' // variation selector 16: shown in colour
	keycap   = '\u20e3'
	tagFirst = '\U000e0020'
	tagLast  = '\U000e007e'
	tagEnd   = '\U000e007f'
)

// pictures are the code points that an emoji can begin with: the blocks of
// pictographs whole, so that those of later versions of Unicode are taken, and
// of the older blocks those with the property Emoji.
var pictures = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x00a9, 0x00a9, 1}, {0x00ae, 0x00ae, 1}, {0x203c, 0x203c, 1}, {0x2049, 0x2049, 1}, {0x2122, 0x2122, 1}, {0x2139, 0x2139, 1},
		{0x2194, 0x2199, 1}, {0x21a9, 0x21aa, 1}, {0x231a, 0x231b, 1}, {0x2328, 0x2328, 1}, {0x23cf, 0x23cf, 1}, {0x23e9, 0x23f3, 1},
		{0x23f8, 0x23fa, 1}, {0x24c2, 0x24c2, 1}, {0x25aa, 0x25ab, 1}, {0x25b6, 0x25b6, 1}, {0x25c0, 0x25c0, 1}, {0x25fb, 0x25fe, 1},
		{0x2600, 0x27bf, 1}, {0x2934, 0x2935, 1}, {0x2b05, 0x2b07, 1}, {0x2b1b, 0x2b1c, 1}, {0x2b50, 0x2b50, 1}, {0x2b55, 0x2b55, 1},
		{0x3030, 0x3030, 1}, {0x303d, 0x303d, 1}, {0x3297, 0x3297, 1}, {0x3299, 0x3299, 1},
	},
	R32:         []unicode.Range32{{0x1f000, 0x1f1e5, 1}, {0x1f200, 0x1f3fa, 1}, {0x1f400, 0x1faff, 1}},
	LatinOffset: 2,
}

// checkEmoji reports whether s is one emoji, by the grammar of UTS #51, §1.4.9
// (https://unicode.org/reports/tr51/#EBNF_and_Regex).
func checkEmoji(s string) error {
	if s == "" || len(s) > maxEmojiBytes || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxEmojiRunes {
		return notEmoji(s)
	}
	rest := []rune(s)
	for {
		n := element(rest)
		switch {
		case n == 0:
			return notEmoji(s)
		case n == len(rest):
			return nil
		case rest[n] != joiner:
			return notEmoji(s)
		}
		rest = rest[n+1:]
	}
}

func notEmoji(s string) error {
	return im.Errorf(im.Invalid, `"emoji" is one emoji, not %.40q`, s)
}

// element returns how many code points of s are its first emoji, up to where
// another may be joined to it; 0 if it does not begin with one.
func element(s []rune) int {
	switch {
	case len(s) == 0:
		return 0
	case flagLetter(s[0]): // two of them are a flag
		if len(s) > 1 && flagLetter(s[1]) {
			return 2
		}
		return 0
	case s[0] == '#' || s[0] == '*' || s[0] >= '0' && s[0] <= '9':
		switch {
		case len(s) > 1 && s[1] == keycap:
			return 2
		case len(s) > 2 && s[1] == asEmoji && s[2] == keycap:
			return 3
		}
		return 0
	case !unicode.Is(pictures, s[0]):
		return 0
	case len(s) == 1:
		return 1
	case s[1] >= 0x1f3fb && s[1] <= 0x1f3ff: // the colour of a skin
		return 2
	case s[1] == asEmoji:
		if len(s) > 2 && s[2] == keycap {
			return 3
		}
		return 2
	case s[1] >= tagFirst && s[1] <= tagLast:
		n := 1
		for n < len(s) && s[n] >= tagFirst && s[n] <= tagLast {
			n++
		}
		if n < len(s) && s[n] == tagEnd {
			return n + 1
		}
		return 0
	}
	return 1
}

func flagLetter(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }
