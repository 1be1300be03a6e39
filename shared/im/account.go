package im

import "time"

// What a mail with a code is for.
const (
	MailVerify = "verify" // to prove that the address is the user's
	MailReset  = "reset"  // to choose another password
)

// What a mail tells of that has changed, for its owner to know if it was
// somebody else.
const (
	MailEmailChanged    = "email-changed" // it goes to the one before
	MailPasswordChanged = "password-changed"
	MailFactorAdded     = "factor-added"
	MailFactorRemoved   = "factor-removed"
)

// A Mail is one that was asked for and not sent yet.
type Mail struct {
	ID      int64
	Purpose string // what it is for, or tells of
	Email   string
	User    string // who asked, or whom it tells; "" of one that anybody may ask for
	Tries   int    // how often it was tried to send it, this time among them
	Age     time.Duration
}

// A Revocation is what else of a user ends when their password becomes another.
type Revocation struct {
	Bots       bool // the tokens of their bots; and their webhooks are told nothing any more
	Identities bool // their accounts elsewhere
}

// An Identity is an account elsewhere by which a user signs in.
type Identity struct {
	Provider string `json:"provider"`       // as this deployment calls it
	Name     string `json:"name,omitempty"` // of the account there
	Created  Time   `json:"created"`
}

// A Claim is what a provider says of somebody who has signed in there.
type Claim struct {
	Provider string `json:"provider"` // as this deployment calls it
	Issuer   string `json:"issuer"`   // with Subject, who it is, for ever
	Subject  string `json:"subject"`
	Account  string `json:"account"` // what they call themselves there, if anything
	Name     string `json:"name"`    // what they are called, if that is said
	Email    string `json:"email"`   // normalised, and proved to the provider; "" if none is
}

// A Factor is what a user has beside their password: a secret that codes are
// made of.
type Factor struct {
	Secret    string // encrypted
	Confirmed bool   // it is asked for
	LastStep  int64  // of time, whose code was used last
}
