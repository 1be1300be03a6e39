package user

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/vault"
)

// proofs are what a device is given that signs in, and shows when it signs in
// again: whoever guesses from elsewhere uses up nothing of its own (OWASP, Slow
// Down Online Guessing Attacks with Device Cookies). A proof lets nobody in.
type proofs struct {
	vault *vault.Vault
	ttl   time.Duration
}

// A proof says that a device was let in to an account.
type proof struct {
	User     string `json:"user"`
	Lane     string `json:"lane"`     // in which attempts of the device are counted
	Password []byte `json:"password"` // by which the password of then is told from others
	Expires  int64  `json:"expires"`  // seconds since 1970
}

const (
	maxProof = 1024 // bytes

	// former is the lane of all devices that were let in before the password
	// was changed. Somebody who knew the old one may have any number of proofs.
	former = "former"

	proofUse = "device proof"
)

// issue returns a proof of a device of a user, whose password has a hash.
func (p proofs) issue(user, passwordHash string) string {
	b, err := im.JSON(proof{User: user, Lane: rand.Text(), Password: p.vault.Hash(passwordHash, proofUse, user), Expires: time.Now().Add(p.ttl).Unix()})
	if err != nil {
		panic(err) // it cannot fail
	}
	return p.vault.Seal(b, proofUse)
}

// CheckDeviceProof reports a text that is too long for a proof, as Invalid. What
// is none otherwise is a stranger's.
func CheckDeviceProof(text string) error {
	if len(text) > maxProof {
		return im.Errorf(im.Invalid, `"device_proof" has more than %d bytes: send what the device was given when it signed in, or leave it out`, maxProof)
	}
	return nil
}

// lane returns the lane of the device that shows a proof, if it was let in to
// the account of a user, whose password has a hash; "" if it is a stranger.
func (p proofs) lane(text, user, passwordHash string) string {
	was, ok := p.read(text)
	switch {
	case !ok || was.User != user:
		return ""
	case !p.vault.Is(was.Password, passwordHash, proofUse, user):
		return former
	}
	return was.Lane
}

// read returns what a proof says, and false if it is none, or too old.
func (p proofs) read(text string) (was proof, ok bool) {
	if text == "" || CheckDeviceProof(text) != nil {
		return was, false
	}
	b, _, err := p.vault.Open(text, proofUse)
	if err != nil || json.Unmarshal(b, &was) != nil {
		return proof{}, false
	}
	return was, time.Now().Unix() < was.Expires
}
