package inbox

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/imtest/steps"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

const dieTrimming = "INBOX_TEST_TRIMS"

// TestAProcessThatTrims is what the next test kills, and nothing otherwise.
func TestAProcessThatTrims(t *testing.T) {
	if os.Getenv(dieTrimming) == "" {
		return
	}
	env := proc.NewEnv(os.Getenv, slog.New(slog.DiscardHandler))
	defer env.Close()
	trim(t, env)
}

func trim(t *testing.T, env *proc.Env) {
	t.Helper()
	h, err := fn.Mount(context.WithoutCancel(t.Context()), env, Trim)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/"+Trim.Name, nil))
	if answer.Code != http.StatusNoContent {
		t.Fatal(answer.Code, answer.Body)
	}
}

// A process that trims inboxes is killed by SIGKILL after each of its
// statements. Whatever it came to, nothing is gone that is to stay: the newest
// entry, the newest of each conversation, all that is young; the next entry gets
// the next seq; and the next runs end with what is to stay and nothing else.
func TestP3AKilledTrimmerLeavesAllThatIsToStay(t *testing.T) {
	vars := map[string]string{"INBOX_STORE": "postgres", "POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "INBOX_KEEP": "1800h"}
	env := imtest.Env(t, vars)
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	s := opened(t, env)
	watch := steps.New(t)
	child := []string{dieTrimming + "=1", "INBOX_STORE=postgres", "POSTGRES_URL=" + watch.Postgres(vars["POSTGRES_URL"]), "INBOX_KEEP=" + vars["INBOX_KEEP"]}
	days := []int{100, 99, 98, 97, 96, 95, 94, 93, 92, 3, 2, 1}
	old := []int{100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89} // of all of which some stay
	for at, between := 1, 0; ; at++ {
		if _, err := conn.Exec(t.Context(), `DELETE FROM users`); err != nil { // who was trimmed before
			t.Fatal(err)
		}
		var users []string
		want := map[string][]int64{}
		for i := range 3 {
			u := im.NewID()
			users = append(users, u)
			if err := db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u[:10], Name: "u"}, "hash"); err != nil {
				t.Fatal(err)
			}
			ages, stay := days, []int64{10, 11, 12}
			if i == 2 {
				ages, stay = old, []int64{11, 12}
			}
			var all []im.Entry
			for n, d := range ages {
				all = append(all, aged(u, n+1, d))
			}
			insertAll(t, s, all...)
			want[u] = stay
		}
		killed := watch.Run("TestAProcessThatTrims", child, at, steps.After)
		for _, u := range users {
			got := seqsOf(t, s, u)
			for _, seq := range want[u] {
				if !slices.Contains(got, seq) {
					t.Errorf("killed after step %d, %q: of %v seq %d is gone", at, killed, got, seq)
				}
			}
			if n := len(got); n > len(want[u]) && n < 12 || n == 12 && killed != "" {
				between++
			}
			insertAll(t, s, aged(u, 13, 0)) // which fails if 13 is not the next
		}
		trim(t, env) // it may have only to note that it has been with everybody
		trim(t, env)
		for i, u := range users {
			stay := append(want[u], 13)
			if i == 2 { // 11 is of the same conversation
				stay = []int64{12, 13}
			}
			if got := seqsOf(t, s, u); !slices.Equal(got, stay) {
				t.Errorf("killed after step %d, %q: there are %v, want %v", at, killed, got, stay)
			}
		}
		if t.Failed() {
			return
		}
		if killed == "" {
			if at < 8 || between == 0 {
				t.Errorf("there were %d steps, and %d inboxes were half done", at, between)
			}
			return
		}
	}
}
