package functions

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// What is declared with a scope that there is not is no bot's, and nobody sees it.
func TestP6EveryScopeOfAFunctionIsOneThatTokensHave(t *testing.T) {
	bots := 0
	for _, f := range All {
		if f.Scope == fn.People {
			continue
		}
		bots++
		if !f.Public || !slices.Contains(im.Scopes, f.Scope) {
			t.Errorf("%s is public: %v, and has the scope %s", f.Name, f.Public, f.Scope)
		}
	}
	if bots < 30 {
		t.Errorf("%d functions were looked at", bots)
	}
}
