package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A corpus makes up what people say, in English, Chinese, Japanese and Korean by
// turns, with words that are as unevenly common as those of a language (Zipf's
// law). The same one says the same.
type corpus struct {
	random *rand.Rand
	zipf   *rand.Zipf
	rare   [languages]string // words that are in one message each
	rareAt int               // message in which the first of them is; the others are in those after it
}

const (
	english = iota
	chinese
	japanese
	korean
	languages
)

// common are words that one message in three of a language has.
var common = [languages]string{"okay", "好的", "了解です", "알겠어요"}

func newCorpus(messages int, rare [languages]string) *corpus {
	random := rand.New(rand.NewPCG(1, 2))
	return &corpus{random: random, zipf: rand.NewZipf(random, 1.1, 3, 20_000), rare: rare, rareAt: messages / 3 / languages * languages}
}

// say returns the text of the i-th message: they are to be asked for in order.
func (c *corpus) say(i int) string {
	language := i % languages
	var s strings.Builder
	for range 4 + c.random.IntN(12) {
		n := c.zipf.Uint64()
		switch language {
		case english:
			s.WriteString(word(n) + " ")
		case chinese: // two characters, no spaces
			s.WriteString(letters(0x4e00, 6000, n, n*31))
		case japanese: // a character and its ending, or a loan word
			if n%4 == 0 {
				s.WriteString(letters(0x30a2, 80, n, n*7, n*13))
			} else {
				s.WriteString(letters(0x4e00, 6000, n*17) + letters(0x3042, 80, n))
			}
		case korean:
			s.WriteString(letters(0xac00, 11000, n*5, n*11) + " ")
		}
	}
	if i/languages%3 == 0 {
		s.WriteString(" " + common[language])
	}
	if i >= c.rareAt && i < c.rareAt+languages {
		s.WriteString(" " + c.rare[language])
	}
	return s.String()
}

// word returns the n-th of some made-up words.
func word(n uint64) string {
	var s strings.Builder
	for range 3 {
		fmt.Fprintf(&s, "%c%c", "bcdfghklmnprstvz"[n%16], "aeiou"[n/16%5])
		n = n*2654435761 + 97
	}
	return s.String()
}

// letters returns a character for each of ns, of those that follow first.
func letters(first rune, of uint64, ns ...uint64) string {
	var s strings.Builder
	for _, n := range ns {
		s.WriteRune(first + rune(n%of))
	}
	return s.String()
}
