package account

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/vault"
)

// handles are what those are given who ask for a code to reset a password: it
// tells their attempts from those of strangers who know the e-mail address.
// Nothing is stored of one, and one of an address that nobody has is like any.
type handles struct{ vault *vault.Vault }

type handle struct {
	ID      string `json:"id"`
	Email   string `json:"email"`
	Expires int64  `json:"expires"` // seconds since 1970
}

const (
	// handleLife is as long as the mail may take, and the code in it is good.
	handleLife = mailAge + codeLife

	maxHandle = 1024 // bytes
	handleUse = "reset handle"
)

func (h handles) issue(email string) string {
	b, err := im.JSON(handle{ID: rand.Text(), Email: email, Expires: time.Now().Add(handleLife).Unix()})
	if err != nil {
		panic(err) // it cannot fail
	}
	return h.vault.Seal(b, handleUse)
}

// read returns the id of a handle of who asked for a code for an e-mail address,
// and "" of none; false if it is not good.
func (h handles) read(text, email string) (id string, ok bool) {
	if text == "" {
		return "", true
	}
	if len(text) > maxHandle {
		return "", false
	}
	b, _, err := h.vault.Open(text, handleUse)
	var of handle
	if err != nil || json.Unmarshal(b, &of) != nil {
		return "", false
	}
	return of.ID, of.Email == email && time.Now().Unix() < of.Expires
}
