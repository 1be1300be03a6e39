package migrate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingPostgres = proc.Setting{Name: "POSTGRES_PASSWORD", Secret: true, Doc: "password that `migrate keys` puts into the URL of PostgreSQL that it makes; unset, it makes one"}
	settingS3       = proc.Setting{Name: "S3_PASSWORD", Secret: true, Doc: "secret key that `migrate keys` puts into the URLs of the object store that it makes; unset, it makes one"}
)

// writeURLs makes what is missing in a folder of URLs that have passwords, each
// given as <file>=<URL with a user and no password>, such as
// postgres-url=postgres://tidings@postgres:5432/tidings: a password in the file
// postgres-password, and the URL with it, percent-encoded, in postgres-url. One
// user at one host has one password: that of the first who is named. Of
// redis-url there is redis-acl, too, by which Redis knows the user, and
// kafka-url, which no process reads, stands for kafka-jaas, by which a broker does.
func writeURLs(env *proc.Env, dir string, list []string) error {
	files := make(map[string]string) // of passwords, by user and host
	for _, arg := range list {
		name, at, _ := strings.Cut(arg, "=")
		store, isURL := strings.CutSuffix(name, "-url")
		u, err := url.Parse(at)
		if err != nil || !isURL || store == "" || strings.ContainsAny(name, `/\.`) || u.Host == "" || u.User.Username() == "" {
			return fmt.Errorf("migrate keys: %q is not <store>-url=<URL with a user>, such as postgres-url=postgres://tidings@postgres:5432/tidings", name)
		}
		if _, has := u.User.Password(); has {
			return fmt.Errorf("migrate keys: the URL of %s has a password already: write it into the file %s yourself", name, filepath.Join(dir, name))
		}
		who := u.User.Username() + "@" + u.Host
		if files[who] == "" {
			files[who] = store + "-password"
			if err := writePassword(env, dir, store); err != nil {
				return err
			}
		}
		password, err := os.ReadFile(filepath.Join(dir, files[who]))
		if err != nil {
			return fmt.Errorf("making %s: %w", name, err)
		}
		if err := writeURL(dir, store, u, strings.TrimSpace(string(password))); err != nil {
			return err
		}
	}
	return nil
}

// writePassword makes the password of a store, unless whoever deploys has set it.
func writePassword(env *proc.Env, dir, store string) error {
	return writeNew(dir, store+"-password", func() (string, error) {
		set := env.Settings()
		given := map[string]string{"postgres": set.String(settingPostgres), "s3": set.String(settingS3)}[store]
		if err := set.Err(); err != nil || given != "" {
			return given, err
		}
		var b [24]byte
		rand.Read(b[:])
		return base64.RawURLEncoding.EncodeToString(b[:]), nil
	})
}

// writeURL makes what has a password of a store in it.
func writeURL(dir, store string, u *url.URL, password string) error {
	user := u.User.Username()
	switch store {
	case "kafka":
		return writeNew(dir, "kafka-jaas", func() (string, error) { return jaas(user, password) })
	case "redis":
		if err := writeNew(dir, "redis-acl", func() (string, error) { return acl(user, password) }); err != nil {
			return err
		}
	}
	return writeNew(dir, store+"-url", func() (string, error) {
		whole := *u
		whole.User = url.UserPassword(user, password)
		return whole.String(), nil
	})
}

// jaas returns by what a broker knows a user who proves by SASL/PLAIN who they
// are: a configuration of Java's login
// (https://kafka.apache.org/documentation/#security_sasl_plain_brokerconfig).
func jaas(user, password string) (string, error) {
	if strings.ContainsAny(user, "\" \\=;") {
		return "", errors.New("the user of Kafka is not a word")
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(password)
	return fmt.Sprintf("KafkaServer {\n  org.apache.kafka.common.security.plain.PlainLoginModule required\n  user_%s=\"%s\";\n};", user, quoted), nil
}

// acl returns by what Redis knows a user, and nobody else
// (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/):
// they may do everything but change how the server works.
func acl(user, password string) (string, error) {
	if strings.ContainsAny(user, " \n") {
		return "", errors.New("the user of Redis is not a word")
	}
	return fmt.Sprintf("user default off\nuser %s on #%x ~* &* +@all -@admin", user, sha256.Sum256([]byte(password))), nil
}
