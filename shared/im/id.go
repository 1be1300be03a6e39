package im

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const idLen = 16

// NewID returns a random id for a user, group, session or device: 80 bits in
// 16 characters of lower-case base32 (RFC 4648).
func NewID() string {
	var b [10]byte
	rand.Read(b[:]) // never fails (Go 1.24)
	return base32Lower.EncodeToString(b[:])
}

// IsID reports whether s has the form of an id that NewID makes.
func IsID(s string) bool {
	if len(s) != idLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// NewMessageID returns a UUIDv7 (RFC 9562, §5.7) of time t: milliseconds in the
// first 48 bits, the microseconds below them in rand_a (§6.2, method 3), and 62
// random bits.
func NewMessageID(t Time) string {
	var random [8]byte
	rand.Read(random[:])
	return MessageID(t, random)
}

// MessageID returns the UUIDv7 of time t with these random bits, of which two
// make way for the variant. The same time and bits make the same id.
func MessageID(t Time, random [8]byte) string {
	var u [16]byte
	copy(u[8:], random[:])
	ms, us := uint64(t)/1000, uint64(t)%1000
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	sub := us * 4096 / 1000
	u[6] = 0x70 | byte(sub>>8)
	u[7] = byte(sub)
	u[8] = u[8]&0x3f | 0x80
	return FormatMessageID(u)
}

// FormatMessageID returns the message id that these bytes are.
func FormatMessageID(u [16]byte) string {
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// TimeOfMessageID returns the time that a message id is made of, to the
// microsecond, so that an id alone names a place; false if s is none of
// NewMessageID.
func TimeOfMessageID(s string) (Time, bool) {
	if !IsMessageID(s) || s[14] != '7' {
		return 0, false
	}
	hi, err1 := strconv.ParseUint(s[0:8]+s[9:13], 16, 64)
	lo, err2 := strconv.ParseUint(s[15:18], 16, 64)
	if err1 != nil || err2 != nil {
		return 0, false
	}
	us := (lo*1000 + 4095) / 4096
	if us > 999 { // above what 999 µs is written as
		return 0, false
	}
	return Time(hi*1000 + us), true
}

// MessageIDBytes returns the bytes of a message id; false, and zeros, if s is
// none.
func MessageIDBytes(s string) (u [16]byte, ok bool) {
	if !IsMessageID(s) {
		return u, false
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if s[i] != '-' {
			digits[n] = s[i]
			n++
		}
	}
	_, err := hex.Decode(u[:], digits[:])
	return u, err == nil
}

// IsMessageID reports whether s is a UUID in its canonical lower-case form.
func IsMessageID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// A Conversation is where messages are said: "d:<a>:<b>" between the users a
// and b, the smaller id first, or "g:<id>" in a group. It is the partition key
// of its messages in Kafka and the first column of their history.
type Conversation string

// Direct returns the conversation between two users.
func Direct(a, b string) Conversation {
	if a > b {
		a, b = b, a
	}
	return Conversation("d:" + a + ":" + b)
}

// Group returns the conversation of a group.
func Group(id string) Conversation { return Conversation("g:" + id) }

// Users returns the two users of a direct conversation, and "", "" for any other.
func (c Conversation) Users() (a, b string) {
	rest, ok := strings.CutPrefix(string(c), "d:")
	if !ok {
		return "", ""
	}
	a, b, ok = strings.Cut(rest, ":")
	if !ok {
		return "", ""
	}
	return a, b
}

// Group returns the id of the group whose conversation c is, or "".
func (c Conversation) Group() string {
	id, ok := strings.CutPrefix(string(c), "g:")
	if !ok {
		return ""
	}
	return id
}

// Peer returns the other user of a direct conversation in which user takes
// part, or "".
func (c Conversation) Peer(user string) string {
	switch a, b := c.Users(); user {
	case "":
		return ""
	case a:
		return b
	case b:
		return a
	}
	return ""
}

// Check reports whether c has the form of a conversation.
func (c Conversation) Check() error {
	if a, b := c.Users(); IsID(a) && IsID(b) && a < b {
		return nil
	}
	if IsID(c.Group()) {
		return nil
	}
	return Errorf(Invalid, "%.80q is not a conversation: it is d:<user>:<user>, the smaller id first, or g:<group>", string(c))
}
