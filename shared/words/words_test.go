package words

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name, query, text string
		marks             []string // nil is no match
	}{
		{"a word", "hello", "Hello, world", []string{"Hello"}},
		{"all words, in any order", "world hello", "hello brave world", []string{"hello", "world"}},
		{"not some of them", "hello moon", "hello world", nil},
		{"the beginning of a word", "mess", "two messages", []string{"mess"}},
		{"the middle of a word", "book", "on Facebook", []string{"book"}},
		{"two letters at the beginning", "he", "ask her, the one", []string{"he"}},
		{"two letters in the middle are too many to find", "th", "Martha", nil},
		{"one letter as a word", "a", "plan a", []string{"a"}},
		{"one letter in no word", "a", "plan b", nil},
		{"Chinese without spaces", "明天", "我们明天见", []string{"明天"}},
		{"one Chinese character", "见", "我们明天见", []string{"见"}},
		{"characters that are there, but apart", "明见", "我们明天见", nil},
		{"Chinese words that are apart", "见 明天", "我们明天见", []string{"明天见"}},
		{"Chinese beside Latin", "iPhone手机", "新的iphone手机很好", []string{"iphone手机"}},
		{"Japanese", "カメラ", "新しいカメラを買った", []string{"カメラ"}},
		{"half-width kana", "ｶﾒﾗ", "新しいカメラを買った", []string{"カメラ"}},
		{"kana with a separate mark", "ガム", "ガムをかむ", []string{"ガム"}},
		{"a lengthened vowel", "コーヒー", "コーヒーを飲む", []string{"コーヒー"}},
		{"Korean with a particle", "학교", "내일 학교에 가요", []string{"학교"}},
		{"Korean in letters", "학교", "학교", []string{"학교"}},
		{"Thai", "ภาษา", "ฉันพูดภาษาไทย", []string{"ภาษา"}},
		{"full-width letters", "ABC123", "型番ＡＢＣ１２３です", []string{"ＡＢＣ１２３"}},
		{"accents", "cafe", "Un café, s'il vous plaît", []string{"café"}},
		{"accents that the query has", "plaît", "s'il vous plait", []string{"plait"}},
		{"accents apart from their letters", "café", "cafe\u0301 noir", []string{"cafe\u0301"}},
		{"Cyrillic in capitals", "привет", "ПРИВЕТ всем", []string{"ПРИВЕТ"}},
		{"Greek with a final sigma", "ΛΟΓΟΣ", "ο λόγος", nil}, // accents of Greek count
		{"an emoji", "👍", "good 👍🏽", []string{"👍🏽"}},
		{"operators are no operators", "a & !b | (c:*) <-> 'd'", "d c b a", []string{"d", "c", "b", "a"}},
		{"NUL separates", "one\x00two", "two one", []string{"two", "one"}},
		{"what is no UTF-8 separates", "one\xfftwo", "two one", []string{"two", "one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Parse(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			m, ok := q.Match(tt.text)
			if ok != (tt.marks != nil) {
				t.Fatalf("matches: %t", ok)
			}
			chars := []rune(tt.text)
			var got []string
			for _, mark := range m.Marks {
				got = append(got, strings.TrimSuffix(string(chars[mark.Start:mark.End]), "🏽"))
			}
			for i := range tt.marks {
				tt.marks[i] = strings.TrimSuffix(tt.marks[i], "🏽")
			}
			if !slices.Equal(got, tt.marks) {
				t.Errorf("marks %q, want %q", got, tt.marks)
			}
		})
	}
}

func TestQueriesAreBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		q    string
		want im.Kind
	}{
		"nothing":             {"", im.Invalid},
		"10 kB":               {strings.Repeat("a", 10<<10), im.TooLarge},
		"10 kB of characters": {strings.Repeat("字", 10<<10), im.TooLarge},
		"too many words":      {strings.Join(strings.Split("abcdefghijklmnopq", ""), " "), im.Invalid},
	} {
		if _, err := Parse(tt.q); im.KindOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if q, err := Parse("&|!():*<->'\"\\%_ \t\x00"); err != nil || !q.Empty() {
		t.Errorf("nothing but marks is %v, %v", q, err)
	} else if m, ok := q.Match("% _ & text"); ok {
		t.Errorf("nothing but marks is found: %v", m)
	}
	if q, err := Parse(strings.Repeat("same ", 40)); err != nil || len(q.words) != 1 {
		t.Errorf("a word again and again is %v, %v", q, err)
	}
}

func TestTyposAreForgiven(t *testing.T) {
	for _, tt := range []struct {
		query, text string
		want        bool
	}{
		{"mesage", "a message", true},
		{"recieve", "did you receive it", true},
		{"tomorow", "see you tomorrow", true},
		{"acomodation", "the accommodation is booked", true},
		{"moon", "the sun", false},
		{"cat", "cut", false},
		{"hello wrld", "hello world", true},
		{"hello wrld", "helo world", true},
		{"hello wrld", "help world", false},
		{"明天 mesage", "明天 message", true},
		{"明日 mesage", "明天 message", false},
	} {
		q, err := Parse(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		q, _ = q.Fuzzy()
		if _, ok := q.Match(tt.text); ok != tt.want {
			t.Errorf("%q in %q: %t", tt.query, tt.text, ok)
		}
	}
}

func TestWholeWordsAreBetterThanParts(t *testing.T) {
	q, err := Parse("data base")
	if err != nil {
		t.Fatal(err)
	}
	before := 3.0
	for _, text := range []string{"the data base", "base of data", "data and bases", "bases for datatypes", "metadata in databases"} {
		m, ok := q.Match(text)
		if !ok || m.Quality >= before {
			t.Errorf("%q has %v, %t; what precedes it %v", text, m.Quality, ok, before)
		}
		before = m.Quality
	}
}

func TestSnippets(t *testing.T) {
	long := strings.Repeat("字", 500) + "<b>明天</b>" + strings.Repeat("x", 500)
	q, err := Parse("明天")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := q.Match(long)
	s := SnippetOf(long, m.Marks)
	chars := []rune(s.Text)
	if len(chars) != snippetLen || len(s.Marks) != 1 || string(chars[s.Marks[0].Start:s.Marks[0].End]) != "明天" || !strings.Contains(s.Text, "<b>") {
		t.Errorf("%+v", s)
	}
	if s := SnippetOf("short", nil); s.Text != "short" || s.Marks == nil {
		t.Errorf("%+v", s)
	}
}

// FuzzFilters holds filters to their promise: of a text that matches a query,
// the filter covers one of the query's, however strange both are.
func FuzzFilters(f *testing.F) {
	f.Add("明天", "我们明天见")
	f.Add("he", "ask her")
	f.Add("ABC", "ａｂｃ")
	f.Add("cafe", "cafe\u0301")
	f.Add("ｶﾞ", "ガ")
	f.Add("ỹ̈x", "ỹ̈xy")
	f.Fuzz(func(t *testing.T, query, text string) {
		q, err := Parse(query)
		if err != nil {
			return
		}
		var of Filter
		of.Add(text)
		m, ok := q.Match(text)
		if ok && !slices.ContainsFunc(q.Filters(), func(f Filter) bool { return of.Covers(&f) }) {
			t.Errorf("%q is in %q, but not in its filter", query, text)
		}
		n := len([]rune(text))
		for _, mark := range m.Marks {
			if mark.Start < 0 || mark.End > n || mark.Start >= mark.End {
				t.Errorf("mark %v of %d characters", mark, n)
			}
		}
		if fuzzy, ok := q.Fuzzy(); ok {
			fuzzy.Match(text)
			if n := len(fuzzy.Filters()); n > maxAlternatives {
				t.Errorf("%d filters", n)
			}
		}
	})
}

func TestFiltersOfOthersAreRare(t *testing.T) {
	var f Filter
	for i := 0; f.Ones() < FullFilter; i++ {
		f.Add("行" + string(rune(0x4e00+i*7%20000)) + string(rune(0x4e00+i*13%20000)))
	}
	wrong := 0
	for i := range 1000 {
		q, err := Parse(string([]rune{rune(0xac00 + i), rune(0xad00 + i), rune(0xae00 + i)}))
		if err != nil {
			t.Fatal(err)
		}
		if need := q.Filters()[0]; f.Covers(&need) {
			wrong++
		}
	}
	if wrong > 0 { // five grams, of which each is there for nothing once in 256
		t.Errorf("a full filter has %d of 1,000 that are not in it", wrong)
	}
}

func BenchmarkAdd(b *testing.B) {
	for name, text := range map[string]string{"English": "Could you send me the slides of yesterday's meeting, please? I have to go through them.", "Chinese": "你能把昨天会议的幻灯片发给我吗？我需要看一遍再决定。"} {
		b.Run(name, func(b *testing.B) {
			var f Filter
			for b.Loop() {
				f.Add(text)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	q, err := Parse("昨天 slides")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		q.Match("Could you send me the slides of yesterday's meeting, please? I have to go through them.")
	}
}

// distance is what close compares, as it is defined.
func distance(a, b []rune) int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
		for j := range table[i] {
			if i == 0 || j == 0 {
				table[i][j] = i + j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			table[i][j] = min(table[i-1][j]+1, table[i][j-1]+1, table[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				table[i][j] = min(table[i][j], table[i-2][j-2]+1)
			}
		}
	}
	return table[len(a)][len(b)]
}

func FuzzCloseIsTheDistance(f *testing.F) {
	f.Add("meeting", "meetign")
	f.Add("abcd", "badc")
	f.Add("abcdefgh", "abdecfgh")
	f.Add("", "ab")
	f.Add("\ufdfa", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, s, u string) {
		a, b := []rune(s), []rune(u)
		for most := 1; most <= 2; most++ {
			if d := len(b) - len(a); d > most || -d > most || len(a) > maxQuery {
				continue
			}
			if got, want := close(a, b, most), distance(a, b) <= most; got != want {
				t.Errorf("%q and %q, %d letters: %v, want %v", s, u, most, got, want)
			}
		}
	})
}

func TestAWordOfMoreLettersThanAQueryMayHaveIsLookedFor(t *testing.T) {
	q, err := Parse(strings.Repeat("\ufdfa", maxQuery)) // 18 letters each
	if err != nil {
		t.Fatal(err)
	}
	fuzzy, _ := q.Fuzzy()
	if _, ok := fuzzy.Match(strings.Repeat("\ufdfa", maxQuery-1) + "x"); ok {
		t.Log("it is found misspelt")
	}
	if _, ok := fuzzy.Match(strings.Repeat("\ufdfa", maxQuery)); !ok {
		t.Error("it is not found as it is")
	}
}

// What the pass for misspelt words costs for a text of 16 KB of short words.
func BenchmarkMisspelt(b *testing.B) {
	q, err := Parse("giraffes elephant")
	if err != nil {
		b.Fatal(err)
	}
	fuzzy, _ := q.Fuzzy()
	text := strings.Repeat("girafes elegant girders gigantic ", 500)[:16<<10]
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		fuzzy.Match(text)
	}
}
