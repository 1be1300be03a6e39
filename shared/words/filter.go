package words

import "math/bits"

// FilterBits is how many bits a Filter has.
const FilterBits = 12288

// FullFilter is how many bits of a filter are set when no more is to be added
// to it: about a thousand grams. A query of one gram then finds one filter in
// 256 for nothing; each further gram makes it 256 times less.
const FullFilter = FilterBits / 2

// A Filter is a Bloom filter of the grams of texts: it tells which texts cannot
// match a query (B. H. Bloom, Space/time trade-offs in hash coding with allowable
// errors, 1970; the bits of a gram are found by double hashing: Kirsch and
// Mitzenmacher, Less hashing, same performance, 2006).
type Filter [FilterBits / 8]byte

// hashes is how many bits a gram sets.
const hashes = 8

// maxIndexed is how many bytes of a text are looked at, which is more than a
// user can send.
const maxIndexed = 32 << 10

// Add adds the grams of a text.
func (f *Filter) Add(text string) {
	t := fold(clip(text))
	t.runs(func(c class, from, to int) {
		w := t.runes[from:to]
		for i := range w {
			switch {
			case c == gram:
				f.set(w[i : i+1])
				if i+1 < len(w) {
					f.set(w[i : i+2])
				}
			case i+2 < len(w):
				f.set(w[i : i+3])
			}
		}
		if c == letter {
			f.begin(w)
		}
	})
}

// begin adds how a word begins, by which words are found of which only one or
// two letters are known.
func (f *Filter) begin(w []rune) {
	f.set([]rune{'^', w[0]})
	if len(w) > 1 {
		f.set([]rune{'^', w[0], w[1]})
	}
}

// set adds one gram.
func (f *Filter) set(gram []rune) {
	h := uint64(14695981039346656037)
	for _, r := range gram { // FNV-1a, a character at a time
		h = (h ^ uint64(r)) * 1099511628211
	}
	h ^= h >> 33 // and the end of MurmurHash3, which spreads what short input left alike
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	a, b := uint32(h), uint32(h>>32)|1
	for range hashes {
		bit := a % FilterBits
		f[bit/8] |= 0x80 >> (bit % 8)
		a += b
	}
}

// Union adds what is in another.
func (f *Filter) Union(other *Filter) {
	for i, b := range other {
		f[i] |= b
	}
}

// Covers reports whether all that is in another is in f, too.
func (f *Filter) Covers(other *Filter) bool {
	for i, b := range other {
		if b&^f[i] != 0 {
			return false
		}
	}
	return true
}

// Ones returns how many bits are set.
func (f *Filter) Ones() int {
	n := 0
	for _, b := range f {
		n += bits.OnesCount8(b)
	}
	return n
}

// clip returns as much of a text as is looked at.
func clip(text string) string {
	if len(text) <= maxIndexed {
		return text
	}
	n := maxIndexed
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}
