package user

import (
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAnAccountThatSpeaksForTheServiceIsReserved(t *testing.T) {
	names := newNames([]string{"acme", "-sales"})
	for _, account := range []string{
		"admin", "adm1n", "ad-min", "a.d.m.i.n", "adrnin", "support", "supp0rt", "system", "5ystem", "root", "postmaster", "no-reply", "noreply", "tidings", "acme", "acm3", "bot", "b0t",
	} {
		if err := names.Check(account); im.KindOf(err) != im.Conflict {
			t.Errorf("%s: %v", account, err)
		}
	}
	for _, account := range []string{"ann", "sales", "admiral", "supporter", "bottle", "lunch-bot", "systematic", "acme-fan"} {
		if err := names.Check(account); err != nil {
			t.Errorf("%s: %v", account, err)
		}
	}
}
