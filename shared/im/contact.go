package im

import (
	"net/mail"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a user says of themselves.
const (
	MaxBio    = 500 // characters
	maxAvatar = 500 // bytes
	maxEmail  = 254 // bytes: RFC 5321, §4.5.3.1, erratum 1690
)

// NormalEmail returns an e-mail address as it is stored and searched: in lower
// case, which distinguishes nobody in practice. It has to be written as
// local@domain, in ASCII, without quotes or comments.
func NormalEmail(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s || len(s) > maxEmail || !printable(s) || strings.ContainsAny(s, `"<>`) {
		return "", Errorf(Invalid, "this is not an e-mail address such as ann@example.org")
	}
	local, domain, _ := strings.Cut(s, "@")
	if len(local) > 64 || !strings.Contains(domain, ".") {
		return "", Errorf(Invalid, "this is not an e-mail address such as ann@example.org")
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !isLabel(label) {
			return "", Errorf(Invalid, "%.80q is not the domain of an e-mail address", domain)
		}
	}
	return strings.ToLower(s), nil
}

// isLabel reports whether s is a label of a host name (RFC 1123, §2.1).
func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20 // lower case
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

// NormalPhone returns a telephone number as ITU-T E.164 writes it: + and at
// most 15 digits, the country code first. What people put between digits is
// left out.
func NormalPhone(s string) (string, error) {
	number := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -./()", r) {
			return -1
		}
		return r
	}, s)
	digits, plus := strings.CutPrefix(number, "+")
	ok := plus && !strings.Contains(s, "(0)") && len(s) <= 40 && len(digits) >= 7 && len(digits) <= 15 && digits[0] != '0'
	for i := range len(digits) {
		ok = ok && digits[i] >= '0' && digits[i] <= '9'
	}
	if !ok {
		return "", Errorf(Invalid, "a telephone number is written with its country code, such as +4930901820")
	}
	return number, nil
}

// CheckBio reports whether s could be what a user says of themselves. It may
// have several lines.
func CheckBio(s string) error {
	switch {
	case !utf8.ValidString(s):
		return Errorf(Invalid, "the bio is not UTF-8")
	case utf8.RuneCountInString(s) > MaxBio:
		return Errorf(Invalid, "a bio has at most %d characters", MaxBio)
	case strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }):
		return Errorf(Invalid, "a bio holds no control characters but line feeds")
	}
	return nil
}

// CheckAvatar reports whether s could be where the picture of a user is: an
// https URL without a password in it, or "" for none.
func CheckAvatar(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(s) > maxAvatar || !printable(s) {
		return Errorf(Invalid, "an avatar is an https URL of at most %d bytes", maxAvatar)
	}
	return nil
}
