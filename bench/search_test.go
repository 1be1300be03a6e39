package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/jpeg"
	"net/url"
	"strings"
	"testing"
)

func TestTheCorpusHasWhatIsSearchedFor(t *testing.T) {
	const n = 2400
	rare := [languages]string{"xylophone", "鑫鱻", "ヴィオラ弾き", "뷁쉛"}
	c, again := newCorpus(n, rare), newCorpus(n, rare)
	var rares, commons [languages]int
	for i := range n {
		text := c.say(i)
		if other := again.say(i); other != text {
			t.Fatalf("message %d is %q, and then %q", i, text, other)
		}
		for l := range languages {
			rares[l] += strings.Count(text, rare[l])
			commons[l] += strings.Count(text, common[l])
		}
	}
	for l := range languages {
		if rares[l] != 1 || commons[l] != n/12 {
			t.Errorf("language %d: the rare word is there %d times, the common one %d times; want 1 and %d", l, rares[l], commons[l], n/12)
		}
	}
}

func TestWhatASearchFindsIsChecked(t *testing.T) {
	tests := []struct {
		name        string
		pages       []int // messages on each
		least, most int
		found       string
	}{
		{"as many as there are", []int{1}, 1, 1, ""},
		{"pages that are empty before", []int{0, 0, 1}, 1, 1, ""},
		{"nothing, rightly", []int{0}, 0, 0, ""},
		{"too few", []int{3}, 10, plenty, "3 messages were found"},
		{"what there is not", []int{1}, 0, 0, "1 messages were found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := new(bench)
			i := 0
			ask := func(context.Context, *user, string, string, any) ([]byte, error) {
				page := map[string]any{"messages": make([]struct{}, tt.pages[i])}
				if i++; i < len(tt.pages) {
					page["next"] = "more"
				}
				return json.Marshal(page)
			}
			if err := b.find(t.Context(), ask, nil, query{Values: url.Values{"q": {"x"}}, least: tt.least, most: tt.most}); err != nil {
				t.Fatal(err)
			}
			checkFound(t, &b.found, tt.found)
		})
	}
}

func TestThePictureIsOne(t *testing.T) {
	b, err := photo()
	if err != nil {
		t.Fatal(err)
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || c.Width != 1280 || c.Height != 960 || len(b) < 4*rangeBytes {
		t.Errorf("it is %d by %d in %d bytes, %v", c.Width, c.Height, len(b), err)
	}
}
