package user

import (
	"slices"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingReserved = proc.Setting{Name: "RESERVED_ACCOUNTS", Doc: "accounts that nobody may register beside those that docs/accounts.md lists, separated by commas; one with a hyphen before it may be registered after all, such as -support"}

// reserved are accounts that others would take for somebody who speaks for the
// service: mailboxes of RFC 2142, and what is commonly held back beside them.
var reserved = strings.Fields(`
	abuse hostmaster info marketing news noc postmaster sales security support usenet uucp webmaster www ftp
	admin administrator root sysadmin sysop system superuser moderator mod staff team official help helpdesk
	service services contact feedback billing payment payments account accounts privacy legal compliance press
	daemon nobody noreply no-reply mailer-daemon bot notification notifications verify verification
	anonymous everyone null undefined api tidings`)

// Names are the accounts that nobody may register.
type Names map[string]bool

func newNames(more []string) Names {
	names := make(Names)
	for _, n := range slices.Concat(reserved, more) {
		if free, ok := strings.CutPrefix(n, "-"); ok {
			delete(names, skeleton(free))
		} else {
			names[skeleton(n)] = true
		}
	}
	return names
}

// Check reports whether an account may be registered. Conflict: it is one of
// those that nobody may, or is easily taken for one.
func (n Names) Check(account string) error {
	if n[skeleton(account)] {
		return im.Errorf(im.Conflict, "the account %q is reserved: choose another", account)
	}
	return nil
}

// looks are characters of accounts by what they are taken for, in the order in
// which they are put in each other's place (after the skeletons of UTS #39, of
// which accounts, being ASCII, leave little).
var looks = strings.NewReplacer(
	"0", "o", "1", "l", "i", "l", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g",
	"rn", "m", "vv", "w", ".", "", "-", "", "_", "",
)

func skeleton(account string) string { return looks.Replace(strings.ToLower(account)) }
