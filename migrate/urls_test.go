package migrate

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/imtest"
)

var stores = []string{
	"postgres-url=postgres://tidings@postgres:5432/tidings?sslmode=disable", "redis-url=redis://tidings@redis:6379", "kafka-url=kafka://tidings@kafka:9092",
	"s3-url=http://tidings@s3:9000/tidings-files", "archive-url=http://tidings@s3:9000/tidings-archive",
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func passwordOf(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return password
}

func TestEachStoreHasAPasswordOfItsOwnThatStays(t *testing.T) {
	dir := t.TempDir()
	var before string
	for range 2 {
		if err := writeURLs(imtest.Env(t, nil), dir, stores); err != nil {
			t.Fatal(err)
		}
		known := make(map[string]bool)
		for _, store := range []string{"postgres", "redis", "kafka", "s3"} {
			password := content(t, dir, store+"-password")
			if len(password) < 32 || known[password] {
				t.Errorf("the password of %s is short, or another's", store)
			}
			known[password] = true
		}
		for file, password := range map[string]string{"postgres-url": "postgres-password", "redis-url": "redis-password", "s3-url": "s3-password", "archive-url": "s3-password"} {
			if passwordOf(t, content(t, dir, file)) != content(t, dir, password) {
				t.Errorf("%s does not have the password in %s", file, password)
			}
		}
		if !strings.HasSuffix(content(t, dir, "postgres-url"), "@postgres:5432/tidings?sslmode=disable") {
			t.Errorf("the URL leads elsewhere")
		}
		if before != "" && before != content(t, dir, "postgres-url") {
			t.Error("what was there was made anew")
		}
		before = content(t, dir, "postgres-url")
	}
}

func TestAnyPasswordIsOneInAURL(t *testing.T) {
	const password = `a/b:c@d%e?f#g "h" ü\`
	dir := t.TempDir()
	env := imtest.Env(t, map[string]string{"POSTGRES_PASSWORD": password, "S3_PASSWORD": password})
	if err := os.WriteFile(filepath.Join(dir, "kafka-password"), []byte(password), 0o600); err != nil { // of whoever deploys
		t.Fatal(err)
	}
	if err := writeURLs(env, dir, stores); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"postgres-url", "s3-url", "archive-url"} {
		if got := passwordOf(t, content(t, dir, file)); got != password {
			t.Errorf("%s has the password %q", file, got)
		}
	}
	if want := `user_tidings="a/b:c@d%e?f#g \"h\" ü\\";`; !strings.Contains(content(t, dir, "kafka-jaas"), want) {
		t.Errorf("kafka-jaas is %s", content(t, dir, "kafka-jaas"))
	}
}

func TestWhatIsNoURLOfAStoreIsRefused(t *testing.T) {
	for _, arg := range []string{
		"", "postgres-url", "postgres-url=", "postgres-url=postgres://postgres:5432/tidings", "postgres-url=postgres://tidings:secret@postgres/tidings",
		"postgres=postgres://tidings@postgres/tidings", "../x-url=postgres://tidings@postgres/tidings", "-url=http://a@b/c",
	} {
		dir := t.TempDir()
		err := writeURLs(imtest.Env(t, nil), dir, []string{arg})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", arg, err)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%q: %v is written", arg, files)
		}
	}
}

// Redis itself reads the list of users: nobody else gets in, and who does
// cannot change how the server works.
func TestP6RedisLetsTheUserInAndNobodyElse(t *testing.T) {
	dir := t.TempDir()
	if err := writeURLs(imtest.Env(t, nil), dir, stores); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--aclfile", filepath.Join(dir, "redis-acl"), "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	as := func(user, password string) *goredis.Client {
		c := goredis.NewClient(&goredis.Options{Network: "unix", Addr: socket, Username: user, Password: password, MaxRetries: 100})
		t.Cleanup(func() { c.Close() })
		return c
	}
	tidings := as("tidings", content(t, dir, "redis-password"))
	if err := tidings.Set(t.Context(), "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := tidings.ConfigSet(t.Context(), "dir", "/").Err(); err == nil {
		t.Error("the user may say where the server writes")
	}
	for name, c := range map[string]*goredis.Client{"nobody": as("", ""), "a guess": as("tidings", "tidings"), "the default user": as("default", content(t, dir, "redis-password"))} {
		if err := c.Get(t.Context(), "a").Err(); err == nil {
			t.Errorf("%s is let in", name)
		}
	}
}
