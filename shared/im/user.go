package im

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A User is somebody with an account.
type User struct {
	ID      string `json:"id"`
	Account string `json:"account"` // what they sign in with; unique, lower case
	Name    string `json:"name"`    // what others see
}

// A GroupInfo is a group as its members see it.
type GroupInfo struct {
	ID           string       `json:"id"`
	Conversation Conversation `json:"conversation"`
	Name         string       `json:"name"`
	Owner        string       `json:"owner"`
	Members      []string     `json:"members,omitempty"` // user ids, the owner among them
	Created      Time         `json:"created"`
}

// A Session is one signed-in device of a user.
type Session struct {
	ID       string
	User     string
	Device   string
	Platform string
	Created  Time
}

// A Caller is who sent a request, as their token proves it.
type Caller struct {
	User     string
	Session  string
	Device   string
	Platform string
}

// The platforms of devices. A user has one socket per platform at a time,
// unless the deployment allows more.
var Platforms = []string{"web", "ios", "android", "desktop", "bot"}

// CheckPlatform reports whether p is a platform.
func CheckPlatform(p string) error {
	for _, q := range Platforms {
		if p == q {
			return nil
		}
	}
	return Errorf(Invalid, "%.40q is not a platform: it is one of %s", p, strings.Join(Platforms, ", "))
}

// CheckDevice reports whether d could name a device: 1 to 64 printable ASCII
// characters, chosen by the client and kept by it.
func CheckDevice(d string) error {
	if d == "" || len(d) > 64 || !printable(d) {
		return Errorf(Invalid, "a device is named by 1 to 64 printable ASCII characters without spaces, chosen once and kept")
	}
	return nil
}

// CheckAccount reports whether a could be an account.
func CheckAccount(a string) error {
	ok := len(a) >= 3 && len(a) <= 32
	for i := range len(a) {
		c := a[i]
		letter := c >= 'a' && c <= 'z'
		ok = ok && (letter || i > 0 && (c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'))
	}
	if !ok {
		return Errorf(Invalid, "an account is 3 to 32 of a-z, 0-9, dot, hyphen and underscore, and starts with a letter")
	}
	return nil
}

// CheckName reports whether s could be what others see of a user or a group.
func CheckName(s string) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return Errorf(Invalid, "the name is not UTF-8")
	case n < 1 || n > 64:
		return Errorf(Invalid, "a name has 1 to 64 characters")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return Errorf(Invalid, "a name holds no control characters")
	case !strings.ContainsFunc(s, unicode.IsGraphic):
		return Errorf(Invalid, "a name has something that can be seen")
	case strings.TrimSpace(s) != s:
		return Errorf(Invalid, "a name neither starts nor ends with a space")
	}
	return nil
}

// CheckPassword reports whether p is long enough to be a password and short
// enough to be hashed (NIST SP 800-63B: at least 8 characters, any of them).
func CheckPassword(p string) error {
	switch n := utf8.RuneCountInString(p); {
	case !utf8.ValidString(p):
		return Errorf(Invalid, "the password is not UTF-8")
	case n < 8:
		return Errorf(Invalid, "a password has at least 8 characters")
	case len(p) > 256:
		return Errorf(Invalid, "a password has at most 256 bytes")
	}
	return nil
}
