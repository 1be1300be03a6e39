package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/shared/im"
)

// A row that no partition took just now is taken when it comes again; one that a
// check of ours refuses is not.
func TestARowThatMissesItsPartitionMayComeAgain(t *testing.T) {
	for constraint, want := range map[string]im.Kind{"": im.Unavailable, "messages_kind": im.Invalid} {
		if got := kindOf(&pgconn.PgError{Code: "23514", ConstraintName: constraint}); got != want {
			t.Errorf("of the constraint %q it is %s, want %s", constraint, got, want)
		}
	}
}
