package main

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets of 3 % of their size (as
// HdrHistogram does with 5 bits of mantissa), so that its memory does not
// depend on how many there are.
type histogram struct {
	counts [64 * sub]uint32
	n      uint64
}

const (
	subBits = 5
	sub     = 1 << subBits
)

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// quantile returns a duration that a share q of those counted do not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q*float64(h.n-1)) + 1
	var seen uint64
	for i, c := range h.counts {
		if seen += uint64(c); seen >= rank {
			return time.Duration(upper(i))
		}
	}
	return 0
}

// bucket returns the bucket of v: the position of its highest bit, and the
// subBits bits below it.
func bucket(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*sub + int(v>>shift)&(sub-1)
}

// upper returns the greatest value of a bucket.
func upper(i int) uint64 {
	if i < sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return (uint64(sub+i%sub)+1)<<shift - 1
}
