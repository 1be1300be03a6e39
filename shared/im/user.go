package im

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A User is somebody with an account.
type User struct {
	ID      string `json:"id"`
	Account string `json:"account"` // what they sign in with; unique, lower case
	Name    string `json:"name"`    // what others see
}

// A Profile is a user as everybody may see them. Of a user who has been deleted
// the id is left.
type Profile struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Name    string `json:"name"`
	Avatar  string `json:"avatar,omitempty"` // an https URL
	Bio     string `json:"bio,omitempty"`
	Bot     bool   `json:"bot,omitempty"` // a program, of somebody's
	Deleted bool   `json:"deleted,omitempty"`
}

// A Self is a user as they see themselves.
type Self struct {
	Profile
	Email         string       `json:"email,omitempty"`
	EmailVerified bool         `json:"email_verified,omitempty"` // they have proved that it is theirs
	Phone         string       `json:"phone,omitempty"`
	SecondFactor  bool         `json:"second_factor,omitempty"` // they are asked for a code when they sign in
	NoPassword    bool         `json:"no_password,omitempty"`   // they sign in by an account elsewhere alone
	Settings      UserSettings `json:"settings"`
	Created       Time         `json:"created"`
}

// UserSettings are what a user lets others do.
type UserSettings struct {
	FindByEmail    bool   `json:"find_by_email"`
	FindByPhone    bool   `json:"find_by_phone"`
	Presence       string `json:"presence"`        // who sees whether they are online
	FriendRequests string `json:"friend_requests"` // who may ask to be friends: Everyone or Nobody
	GroupAdds      string `json:"group_adds"`      // who may make them a member of a group
}

// Who may do what a setting is about.
const (
	Everyone = "everyone"
	Friends  = "friends"
	Nobody   = "nobody"
)

// A UserChange is what a user changes of themselves; nil stays as it is. An
// e-mail address or a telephone number that is "" is taken away.
type UserChange struct {
	Name, Bio, Avatar, Email, Phone *string

	FindByEmail, FindByPhone *bool
	Presence, FriendRequests *string
	GroupAdds                *string
}

// A Session is one signed-in device of a user.
type Session struct {
	ID       string
	User     string
	Device   string
	Platform string
	Created  Time
	Seen     Time // when the device last got tokens; 0 is not known
	Proved   Time // when the user last proved by it who they are: by signing in, or since
}

// An Erasure is of what is left of a user who was deleted where no transaction
// reaches: inboxes, hints. It is done when they are deleted, and Again when
// nothing can be under way to them any more.
type Erasure struct {
	User  string
	Again bool
}

// A Caller is who sent a request, as their token proves it.
type Caller struct {
	User     string
	Session  string
	Device   string
	Platform string
	Scope    string // what the token is good for, words of Scopes; "" is everything
	Proved   Time   // when they last proved who they are, to a second; 0 is not known
}

// Fresh reports whether the caller has proved who they are within a time before
// now. Reauthenticate: they have not.
func (c Caller) Fresh(now time.Time, within time.Duration) error {
	if c.Proved != 0 && now.Sub(c.Proved.Std()) <= within {
		return nil
	}
	return &Error{
		Kind: Reauthenticate, MaxAge: within,
		Msg: "prove again who you are: POST /v1/sessions/current/prove with your password or a code of your second factor, or sign in again; then repeat this with the access token of the answer",
	}
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
