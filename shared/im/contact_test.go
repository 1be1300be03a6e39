package im

import (
	"errors"
	"strings"
	"testing"
)

func TestNormalEmail(t *testing.T) {
	long := strings.Repeat("x", 64)
	for in, want := range map[string]string{
		"ann@example.org":         "ann@example.org",
		"Ann.B+list@Example.ORG":  "ann.b+list@example.org",
		"a@b.c":                   "a@b.c",
		"a@xn--bcher-kva.example": "a@xn--bcher-kva.example",
		long + "@example.org":     long + "@example.org",

		"":                                       "",
		"ann":                                    "",
		"ann@":                                   "",
		"@example.org":                           "",
		"ann@localhost":                          "",
		"ann@example..org":                       "",
		"ann@example.org.":                       "",
		"ann@-example.org":                       "",
		"ann@exa_mple.org":                       "",
		"ann@[192.0.2.1]":                        "",
		"ann@bücher.example":                     "",
		"ann b@example.org":                      "",
		`"ann"@example.org`:                      "",
		`"a b"@example.org`:                      "",
		"Ann <ann@example.org>":                  "",
		"<ann@example.org>":                      "",
		"ann@example.org (Ann)":                  "",
		" ann@example.org":                       "",
		"ann@example.org\n":                      "",
		"ann@example.org\x00":                    "",
		"ann@example.org,b@c.d":                  "",
		"ann@b@example.org":                      "",
		".ann@example.org":                       "",
		long + "x@example.org":                   "",
		"a@" + long + ".org":                     "",
		"a@" + strings.Repeat("x.", 130) + "org": "",
	} {
		got, err := NormalEmail(in)
		if got != want || errors.Is(err, Invalid) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestNormalPhone(t *testing.T) {
	for in, want := range map[string]string{
		"+4930901820":       "+4930901820",
		"+49 30 90-18.20":   "+4930901820",
		"+1 (555) 123-4567": "+15551234567",
		"+123456789012345":  "+123456789012345",
		"+1234567":          "+1234567",
		"+1234567890123456": "",
		"+123456":           "",
		"030 901820":        "",
		"0049 30 901820":    "",
		"+0301234567":       "",
		"+49 (0) 30 901820": "",
		"+49(0)30901820":    "",
		"+49 30 90182x":     "",
		"+49 30 ９０１８２０":     "",
		"++4930901820":      "",
		"+":                 "",
		"":                  "",
		"+49\x0030901820":   "",
		"+4930901820\n":     "",
		"+1" + strings.Repeat(" ", 40) + "234567": "",
	} {
		got, err := NormalPhone(in)
		if got != want || errors.Is(err, Invalid) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestCheckBioAndAvatar(t *testing.T) {
	for _, tt := range []struct {
		name  string
		check func(string) error
		in    string
		ok    bool
	}{
		{"no bio", CheckBio, "", true},
		{"lines", CheckBio, "Hi\nthere 😀", true},
		{"as long as may be", CheckBio, strings.Repeat("ü", MaxBio), true},
		{"longer", CheckBio, strings.Repeat("ü", MaxBio+1), false},
		{"a bell", CheckBio, "\a", false},
		{"NUL", CheckBio, "a\x00", false},
		{"text that runs backwards", CheckBio, "a\u202eb", false},
		{"broken UTF-8", CheckBio, "\xff", false},

		{"no avatar", CheckAvatar, "", true},
		{"a picture", CheckAvatar, "https://example.org/a.png?x=1", true},
		{"one without encryption", CheckAvatar, "http://example.org/a.png", false},
		{"a script", CheckAvatar, "javascript:alert(1)", false},
		{"data", CheckAvatar, "data:image/png;base64,AAAA", false},
		{"one without a host", CheckAvatar, "https:///a.png", false},
		{"one with a password", CheckAvatar, "https://a:b@example.org/a.png", false},
		{"one with a space", CheckAvatar, "https://example.org/a b.png", false},
		{"one that is too long", CheckAvatar, "https://example.org/" + strings.Repeat("a", 500), false},
	} {
		if err := tt.check(tt.in); (err == nil) != tt.ok || err != nil && !errors.Is(err, Invalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzNormalEmail(f *testing.F) {
	f.Add("Ann@example.org")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := NormalEmail(s)
		if err != nil {
			return
		}
		if again, err := NormalEmail(n); err != nil || again != n || !printable(n) {
			t.Errorf("%q becomes %q, and that %q, %v", s, n, again, err)
		}
	})
}

func FuzzNormalPhone(f *testing.F) {
	f.Add("+49 30 901820")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := NormalPhone(s)
		if err != nil {
			return
		}
		if again, err := NormalPhone(n); err != nil || again != n || len(n) > 16 {
			t.Errorf("%q becomes %q, and that %q, %v", s, n, again, err)
		}
	})
}
