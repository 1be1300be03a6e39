package friend

import "github.com/tidings-im/tidings/shared/im"

type notifier interface {
	// Notify has notices published once the transaction is committed.
	Notify(...im.Notice)
}

// What notices carry beside who and whom, whom their conversation names.

type requested struct {
	User        string  `json:"user"` // who is asked
	Message     string  `json:"message"`
	Source      string  `json:"source"`
	RequestedAt im.Time `json:"requested_at"`
}

type remarked struct {
	User   string `json:"user"`
	Remark string `json:"remark"`
}

type blocked struct {
	User    string `json:"user"`
	Blocked bool   `json:"blocked"`
}

// tell leaves a notice of what user has done with regard to other. A
// friendship is worth a line in the conversation of the two; everything else
// is for devices.
func tell(tx notifier, typ, user, other string, to []string, data any) error {
	n, err := im.NewNotice(typ, im.Direct(user, other), user, data)
	if err != nil {
		return err
	}
	n.To, n.Quiet = to, typ != im.FriendAccepted
	tx.Notify(n)
	return nil
}
