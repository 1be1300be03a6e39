package frame

// What a client does after its connection was closed.
const (
	ReconnectYes     = "yes"     // come back, after retry_after_ms or with the client's own jittered back-off
	ReconnectRefresh = "refresh" // get a new access token, then come back
	ReconnectNo      = "no"      // do not come back unless a person asks for it
)

// A Close is why a server closes a connection. The hundreds of its code say
// what the client does next: 40xx comes back, 41xx refreshes its token first,
// 42xx stays away.
type Close struct {
	Code   int
	Reason string
}

// The reasons. A deployment sends no others, except those of RFC 6455 itself:
// 1001 and 1006 come back; 1002, 1003, 1007 and 1009 mean that the client has a
// fault, and it comes back with back-off.
var (
	CloseDraining  = Close{4000, "draining"}   // the gateway is going away; retry_after_ms is chosen to spread the return
	CloseSlow      = Close{4001, "slow"}       // did not read fast enough; sync after coming back
	CloseIdle      = Close{4002, "idle"}       // neither a frame nor a pong in time
	CloseFlooding  = Close{4003, "flooding"}   // went on sending far beyond the rate limit
	CloseProtocol  = Close{4004, "protocol"}   // too many frames that made no sense
	CloseExpired   = Close{4100, "expired"}    // the access token expired and no new one came
	CloseReplaced  = Close{4200, "replaced"}   // another connection of the same device or platform took its place
	CloseSignedOut = Close{4201, "signed-out"} // the session has ended: sign in again
	CloseTooMany   = Close{4202, "too-many"}   // too many connections of this user
	CloseRevoked   = Close{4203, "revoked"}    // the session was ended from another device: sign in again
	CloseDeleted   = Close{4204, "deleted"}    // the account is no more
	Closes         = []Close{CloseDraining, CloseSlow, CloseIdle, CloseFlooding, CloseProtocol, CloseExpired, CloseReplaced, CloseSignedOut, CloseTooMany, CloseRevoked, CloseDeleted}
)

// Reconnect says what a client does after c.
func (c Close) Reconnect() string {
	switch {
	case c.Code >= 4200 && c.Code < 4300:
		return ReconnectNo
	case c.Code >= 4100 && c.Code < 4200:
		return ReconnectRefresh
	}
	return ReconnectYes
}

// CloseFor returns the Close of a reason, and false if there is none.
func CloseFor(reason string) (Close, bool) {
	for _, c := range Closes {
		if c.Reason == reason {
			return c, true
		}
	}
	return Close{}, false
}
