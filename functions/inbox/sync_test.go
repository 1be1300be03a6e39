package inbox

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestSync(t *testing.T) {
	many := make([]int, 2500)
	for i := range many {
		many[i] = i + 1
	}
	large := at(cem, 1, 2, 3, 4, 5, 6)
	for i := range large {
		large[i].Message = json.RawMessage(`"` + strings.Repeat("x", 400<<10) + `"`)
	}
	held := with(at(ann, many...), at(bob, 1, 2, 3), large)
	for _, tt := range []struct {
		name  string
		user  string
		in    syncRequest
		first int64
		n     int
		head  int64
		more  bool
		err   im.Kind
	}{
		{name: "all of a short inbox", user: bob, first: 1, n: 3, head: 3},
		{name: "what follows a seq", user: bob, in: syncRequest{After: 2}, first: 3, n: 1, head: 3},
		{name: "nothing new", user: bob, in: syncRequest{After: 3}, head: 3},
		{name: "a seq beyond the head has nothing", user: bob, in: syncRequest{After: 99}, head: 3},
		{name: "an empty inbox", user: "dddddddddddddddd"},
		{name: "200 unless said otherwise", user: ann, first: 1, n: 200, head: 2500, more: true},
		{name: "as many as asked for", user: ann, in: syncRequest{After: 10, Limit: 250}, first: 11, n: 250, head: 2500, more: true},
		{name: "a page that ends at the head", user: ann, in: syncRequest{After: 2300, Limit: 200}, first: 2301, n: 200, head: 2500},
		{name: "the last page", user: ann, in: syncRequest{After: 2400, Limit: 1000}, first: 2401, n: 100, head: 2500},
		{name: "the most there are in a page", user: ann, in: syncRequest{Limit: 1000}, first: 1, n: 1000, head: 2500, more: true},
		{name: "large messages make short pages", user: cem, first: 1, n: 2, head: 6, more: true},
		{name: "one message is always had, and one at a time goes on", user: cem, in: syncRequest{After: 4, Limit: 1}, first: 5, n: 1, head: 6, more: true},
		{name: "a negative seq", user: bob, in: syncRequest{After: -1}, err: im.Invalid},
		{name: "a negative limit", user: bob, in: syncRequest{Limit: -1}, err: im.Invalid},
		{name: "too many", user: bob, in: syncRequest{Limit: 1001}, err: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page, err := syncAfter(&shelf{entries: held})(t.Context(), im.Caller{User: tt.user}, tt.in)
			if tt.err != "" {
				if im.KindOf(err) != tt.err {
					t.Errorf("error = %v, want kind %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Entries) != tt.n || page.Head != tt.head || page.More != tt.more {
				t.Fatalf("%d entries, head %d, more %v; want %d, %d, %v", len(page.Entries), page.Head, page.More, tt.n, tt.head, tt.more)
			}
			for i, e := range page.Entries {
				if e.Seq != tt.first+int64(i) {
					t.Fatalf("entry %d has seq %d, want %d", i, e.Seq, tt.first+int64(i))
				}
			}
			b, err := json.Marshal(page)
			if err != nil || len(page.Entries) == 0 && !slices.Contains([]string{`{"entries":[],"head":0,"more":false}`, `{"entries":[],"head":3,"more":false}`}, string(b)) {
				t.Errorf("written %.100s, %v", b, err)
			}
		})
	}
	t.Run("a store that is down", func(t *testing.T) {
		_, err := syncAfter(&shelf{err: errLost})(t.Context(), im.Caller{User: ann}, syncRequest{})
		if im.KindOf(err) != im.Unavailable {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a page of one message that is larger than a page", func(t *testing.T) {
		e := at(ann, 1, 2)
		e[0].Message, e[1].Message = make([]byte, im.MaxPage+1), []byte("{}")
		page, err := syncAfter(&shelf{entries: e})(t.Context(), im.Caller{User: ann}, syncRequest{})
		if err != nil || len(page.Entries) != 1 || !page.More {
			t.Errorf("%d entries, more %v, %v; want the one", len(page.Entries), page.More, err)
		}
	})
}

func TestP6SyncReadsTheCallersInboxOnly(t *testing.T) {
	s := &shelf{entries: with(at(ann, 1), at(bob, 2, 3))}
	page, err := syncAfter(s)(t.Context(), im.Caller{User: ann}, syncRequest{})
	if err != nil || len(page.Entries) != 1 || page.Head != 1 {
		t.Errorf("page = %+v, %v", page, err)
	}
}
