package im

// A Presence says whether a user is online, as who asks may see it. To who may
// not, it is that of a user who was never seen.
type Presence struct {
	User     string `json:"user"`
	Online   bool   `json:"online"`
	LastSeen Time   `json:"last_seen,omitempty"` // of who is not online; 0 is not known
}
