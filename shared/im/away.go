package im

import "time"

// A PushSubscription is where a device is reached by Web Push while it is
// offline (RFC 8030), and what only it can read that by (RFC 8291).
type PushSubscription struct {
	User     string
	Session  string
	Endpoint string // a URL of its push service
	P256dh   []byte // public key, an uncompressed point of P-256
	Auth     []byte // 16 bytes
	ShowText bool   // whether notifications may hold what messages say

	Failing  Time // since when every attempt has failed; 0 if the last one did not
	Failures int  // how many did
}

// An Absence is somebody who may have to be notified of a message, on one of
// their devices.
type Absence struct {
	User         string
	Session      string
	Conversation Conversation
	Message      string // id
}

// An Arrival is a message that came for a user from another.
type Arrival struct {
	User         string
	Conversation Conversation
	From         string
	Message      string // id
}

// A Notification is to be sent to a device: that there are messages in a
// conversation which its user has not read. What there is to tell of them is
// read when it is sent.
type Notification struct {
	User         string
	Session      string
	Conversation Conversation
	Message      string // id of the first message that it is for
	Attempt      int    // 1 is the first
	Expires      Time   // it is not to be sent later

	Ended    bool // the session has, or is gone
	Device   string
	Platform string
	Push     *PushSubscription // nil if it has none
	Read     string            // id of the message up to which the user has read all; "" is none
	Muted    bool              // the conversation is, by the user

	Lease Time          // until when it is left to who took it
	Wait  time.Duration // of one that is postponed: for how long
}

// A NotifyTiming says when what is noted is due.
type NotifyTiming struct {
	After time.Duration // from the message
	Every time.Duration // from the last one of the same device and conversation
	TTL   time.Duration // after which it is dropped
}

// A Byline is what a notification says of who sent a message, and where.
type Byline struct {
	Name    string // of the sender
	Group   string // name of the group; "" if it is in none
	Blocked bool   // the user has blocked the sender
}
