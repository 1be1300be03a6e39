package user

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
	"golang.org/x/text/unicode/norm"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	minPassword = 8 // characters, as im.CheckPassword has it

	// maxAppended is how many characters after a common password make it no
	// better: a year, or digits and an exclamation mark.
	maxAppended = 4

	// service is what everybody knows of the place that a password is for.
	service = "tidings"
)

// common are the 30,000 passwords that leaked most often, in lower case, of the
// list of zxcvbn (Wheeler, zxcvbn: Low-Budget Password Strength Estimation,
// USENIX Security 2016).
var common = sync.OnceValue(func() map[string]bool {
	list := frequency.FrequencyLists["passwords"]
	set := make(map[string]bool, len(list))
	for _, p := range list {
		set[p] = true
	}
	return set
})

var (
	errCommon = im.Errorf(im.Invalid, "this password is among those that are guessed first: choose another, such as four words that have nothing to do with each other")
	errOwn    = im.Errorf(im.Invalid, "this password is made of your account, name or e-mail address, or of the name of this service: choose one that nobody can guess who knows these")
)

// CheckNewPassword reports whether somebody may choose a password who is known by
// these words: their account, name, e-mail address (NIST SP 800-63B, 5.1.1.2).
// One that was chosen before is not asked this.
func CheckNewPassword(password string, known ...string) error {
	if err := im.CheckPassword(password); err != nil {
		return err
	}
	p := folded(password)
	for _, word := range append(known, service) {
		if local, _, isEmail := strings.Cut(word, "@"); isEmail && isOwn(p, folded(local)) || isOwn(p, folded(word)) {
			return errOwn
		}
	}
	if isCommon(p) || isCommon(reversed(p)) || isMonotone(p) {
		return errCommon
	}
	return nil
}

func folded(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

func reversed(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

// isOwn reports whether a password is a word, also backwards, several times or
// with a few digits and signs around it.
func isOwn(password, word string) bool {
	if utf8.RuneCountInString(word) < 3 {
		return password == word
	}
	for _, w := range []string{word, reversed(word)} {
		rest := strings.ReplaceAll(password, w, "")
		if rest != password && !strings.ContainsFunc(rest, unicode.IsLetter) && utf8.RuneCountInString(rest) < minPassword {
			return true
		}
	}
	return false
}

// isCommon reports whether a password, or all of it but a few digits and signs at
// its end, is on the list.
func isCommon(password string) bool {
	list := common()
	for range maxAppended + 1 {
		if list[password] {
			return true
		}
		last, size := utf8.DecodeLastRuneInString(password)
		if size == 0 || unicode.IsLetter(last) {
			return false
		}
		password = password[:len(password)-size]
	}
	return false
}

// isMonotone reports whether each character of a password is the one before it,
// or the next one, or the one before in Unicode, all alike: aaaaaaaa, 23456789.
func isMonotone(password string) bool {
	r := []rune(password)
	step := r[1] - r[0]
	for i := 2; i < len(r); i++ {
		if r[i]-r[i-1] != step {
			return false
		}
	}
	return step >= -1 && step <= 1
}
