package im

import (
	"encoding/json"
	"time"
)

// A Bot is a user that is a program: it has an owner, who speaks for it, and
// signs in by tokens.
type Bot struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Name    string `json:"name"`
	Bio     string `json:"bio,omitempty"`
	Created Time   `json:"created"`
}

// A BotChange is what is changed of a bot; nil stays as it is.
type BotChange struct {
	Name *string
	Bio  *string
}

// A BotToken is a secret by which a bot signs in, but for the secret. It is a
// session of the bot, of the same id, for as long as it is good.
type BotToken struct {
	ID      string  `json:"id"`
	Bot     string  `json:"-"`
	Name    string  `json:"name"` // for its owner to know it again
	Scopes  []Scope `json:"scopes"`
	Created Time    `json:"created"`
	Expires Time    `json:"expires,omitempty"` // 0 is never
	Used    Time    `json:"used,omitempty"`    // when it was last signed in with, to a minute; 0 is never
}

// Session returns the session that t is.
func (t BotToken) Session() Session {
	return Session{ID: t.ID, User: t.Bot, Device: "token-" + t.ID, Platform: "bot", Created: t.Created}
}

// A Webhook is an endpoint that is told of messages in the conversations of a
// bot.
type Webhook struct {
	ID           string       `json:"id"`
	Bot          string       `json:"bot"`
	URL          string       `json:"url"`
	Events       []string     `json:"events"`
	Conversation Conversation `json:"conversation,omitempty"` // the only one; "" is all
	Enabled      bool         `json:"enabled"`
	Reason       string       `json:"reason,omitempty"` // why it is not
	Created      Time         `json:"created"`

	Waiting int    `json:"waiting"`           // deliveries
	Dropped int64  `json:"dropped,omitempty"` // deliveries, since one arrived that said how many
	Failing Time   `json:"failing,omitempty"` // since when none has arrived; 0 is not so
	Failure string `json:"failure,omitempty"` // why the last did not
}

// WebhookMessage is the event of a webhook: a message was accepted.
const WebhookMessage = "message"

// WebhookEvents are what a webhook can be told of.
var WebhookEvents = []string{WebhookMessage}

// A WebhookChange is what is changed of a webhook; nil stays as it is.
type WebhookChange struct {
	URL          *string
	Conversation *Conversation // "" is all
	Enabled      *bool
	Secret       *string // sealed; the one before is good for a while, too
}

// Why a webhook is not enabled.
const (
	WebhookOff     = "off"     // its owner has said so
	WebhookGone    = "gone"    // the endpoint has (410)
	WebhookFailing = "failing" // nothing has arrived for long
)

// A WebhookTarget is a webhook that may be told of what comes to its bot.
type WebhookTarget struct {
	ID           string
	Bot          string
	Conversation Conversation // the only one; "" is all
}

// A WebhookDelivery is a message that a webhook is to be told of.
type WebhookDelivery struct {
	Webhook      string
	Conversation Conversation
	Place        Place
	Message      json.RawMessage
	Attempts     int // that failed
}

// A WebhookRun is what somebody has taken upon them to deliver to a webhook.
type WebhookRun struct {
	WebhookTarget
	Run        int64 // which of all
	URL        string
	Secret     string // sealed
	OldSecret  string // sealed; "" is none
	Failures   int    // in a row, before
	Dropped    int64  // to tell
	Deliveries []WebhookDelivery
}

// A WebhookRetry is a delivery that failed, and when to try it again.
type WebhookRetry struct {
	Place Place
	After time.Duration
}

// A WebhookOutcome is what came of a WebhookRun.
type WebhookOutcome struct {
	Webhook string
	Run     int64
	Done    []Place
	Retry   []WebhookRetry
	Told    int64 // of dropped deliveries that the endpoint knows of now

	Failures int           // in a row, now
	Failure  string        // why the last one failed; "" is none did
	After    time.Duration // for which the endpoint is left alone
	Gone     bool          // for good

	DisableAfter  time.Duration // of failing
	DisableBeyond int           // and so many failures
}
