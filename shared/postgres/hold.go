package postgres

import (
	"time"

	"github.com/tidings-im/tidings/shared/proc"
)

var settingHold = proc.Setting{Name: "ACCOUNT_HOLD", Default: "2160h", Doc: "for how long nobody can register the account of a user, or of a bot of somebody else, who was deleted, so that nobody is taken for them; 0 is not at all, forever is for ever"}

// A Hold is for how long accounts of deleted users are nobody's; the zero Hold
// is not at all. Package users keeps to it.
type Hold struct {
	Life    time.Duration
	Forever bool
}

func holdOf(env *proc.Env) (Hold, error) {
	set := env.Settings()
	switch set.String(settingHold) {
	case "0":
		return Hold{}, set.Err()
	case "forever":
		return Hold{Forever: true}, set.Err()
	}
	return Hold{Life: set.Duration(settingHold)}, set.Err()
}
