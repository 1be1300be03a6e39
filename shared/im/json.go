package im

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// JSON returns v as JSON in the way in which all of it is written here: <, >
// and & stand for themselves, which keeps a page as long as what is in it.
// (encoding/json makes six bytes of each for those who paste JSON into HTML.)
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// WrittenLen returns how many bytes s has as a string of JSON, quotes and
// escapes included (RFC 8259, 7).
func WrittenLen(s string) int {
	n := len(s) + len(`""`)
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf {
			if c == '"' || c == '\\' {
				n++
			}
			i++
			continue
		}
		if c < ' ' {
			switch c {
			case '\b', '\f', '\n', '\r', '\t':
				n++
			default:
				n += len(`\u0000`) - 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' { // which end lines in JavaScript
			n += len(`\u0000`) - size
		}
		i += size
	}
	return n
}

// WrittenLen returns how many bytes p has as JSON, at most.
func (p Profile) WrittenLen() int {
	return profileLen + WrittenLen(p.Account) + WrittenLen(p.Name) + WrittenLen(p.Avatar) + WrittenLen(p.Bio)
}

// WrittenLen returns how many bytes m has as JSON, at most.
func (m GroupMember) WrittenLen() int { return profileLen + m.User.WrittenLen() }

// WrittenLen returns how many bytes f has as JSON, at most.
func (f Friend) WrittenLen() int { return profileLen + f.User.WrittenLen() + WrittenLen(f.Remark) }

// profileLen is the most bytes of a profile as written, without its texts, and
// of what there is beside it of a member or of a friend.
const profileLen = 256

// fieldsLen is the most bytes of a message as written, without its text, its
// data, its reactions and its client's id: the names of its fields, ids, times.
const fieldsLen = 512

// WrittenLen returns how many bytes m has as JSON, at most.
func (m Message) WrittenLen() int {
	n := fieldsLen + WrittenLen(m.Text) + WrittenLen(m.ClientID) + len(m.Data)
	for _, r := range m.Reactions {
		n += len(`{"emoji":,"count":,"mine":true},`) + WrittenLen(r.Emoji) + len("2147483647")
	}
	return n
}
