package functions

import (
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/shared/fn"
)

// A function that nobody has thought of a scope for is no bot's; that somebody
// has thought of it is seen here.
func TestP6EveryPublicFunctionHasAScope(t *testing.T) {
	for _, f := range All {
		if _, ok := fn.ScopeOf(f.Name); f.Public && !ok {
			t.Errorf("say in shared/fn/scope.go which scope a bot's token needs for %s", f.Name)
		}
		if s, _ := fn.ScopeOf(f.Name); !f.Public && s != "" {
			t.Errorf("%s is not public and has the scope %s", f.Name, s)
		}
	}
	var spec struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(tidings.OpenAPI, &spec); err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, methods := range spec.Paths {
		for method, op := range methods {
			o, _ := op.(map[string]any)
			id, _ := o["operationId"].(string)
			if id == "" {
				continue
			}
			operations++
			if _, ok := fn.ScopeOf(id); !ok {
				t.Errorf("%s %s, %s, has no scope in shared/fn/scope.go", method, path, id)
			}
		}
	}
	if operations < 40 {
		t.Errorf("%d operations were looked at", operations)
	}
}
