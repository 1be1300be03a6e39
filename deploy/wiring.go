package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

// A function is one of functions.All, and what its deployment depends on.
type function struct {
	fn.Func
	Needs []string // settings that are secrets, such as POSTGRES_URL
	May   []string // such as it starts without
	Told  []string // settings that only whoever deploys knows, of those in choices
	Kafka bool     // it writes to Kafka
	Inbox bool     // it reads or writes inboxes
	Calls bool     // it calls other functions
	Scale scale
	Group string // the deployable that it is part of where there are few
}

// Topics returns what triggers f.
func (f function) Topics() []string {
	if f.Topic == "" {
		return nil
	}
	return []string{f.Topic}
}

// Reaches are the services that f talks to, for network policies.
func (f function) Reaches() []string {
	var to []string
	for _, s := range []struct{ setting, service string }{
		{"POSTGRES_URL", "postgres"}, {"MONGODB_URL", "mongodb"}, {"REDIS_URL", "redis"}, {"S3_URL", "s3"}, {"ARCHIVE_URL", "s3"},
	} {
		if (slices.Contains(f.Needs, s.setting) || slices.Contains(f.May, s.setting)) && !slices.Contains(to, s.service) {
			to = append(to, s.service)
		}
	}
	if f.Kafka {
		to = append(to, "kafka")
	}
	if matches(gatewayCallers, f.Name) {
		to = append(to, "gateway")
	}
	if f.Calls {
		to = append(to, "functions")
	}
	if matches(outsideCallers, f.Name) {
		to = append(to, "outside")
	}
	return to
}

// outsideCallers are the functions that talk to what is not ours: mail servers,
// providers of accounts, push services, webhooks.
const outsideCallers = "mail-send,oauth-start,oauth-callback,notify-away,notify-retry,webhook-deliver,webhook-retry"

// gatewayCallers are the functions that post to the internal port of gateways:
// those that push, and those that end sessions. A test holds them to the code.
const gatewayCallers = "push-fanout,push-signal,push-presence,user-login,user-logout,user-delete,token-refresh,password-change,session-revoke,session-sweep"

// MaxReplicas is the most replicas of f.
func (f function) MaxReplicas() int { return f.Scale.Max }

// Patterns is the setting FUNCTIONS of its deployable: none, it is one alone.
func (f function) Patterns() string { return "" }

// A scale is how many of a function run.
type scale struct {
	Name string
	Min  int // always running
	Max  int
	// Target is how many requests one instance has under way at a time before
	// another is started.
	Target  int
	CPU     string // that an instance is promised
	Request string // of memory, likewise
	Memory  string // that it may use at most
}

// Mi returns the memory that an instance may use at most, in MiB.
func (s scale) Mi() int {
	mi, _ := strconv.Atoi(strings.TrimSuffix(s.Memory, "Mi"))
	return mi
}

var (
	onPath = scale{"path", 1, 20, 32, "100m", "64Mi", "256Mi"}  // a cold start would stall a partition, or everybody who sends
	warm   = scale{"warm", 1, 20, 64, "50m", "48Mi", "192Mi"}   // asked by every client all the time
	rare   = scale{"rare", 0, 10, 64, "25m", "32Mi", "128Mi"}   // may take the time to start
	heavy  = scale{"heavy", 1, 20, 8, "200m", "128Mi", "512Mi"} // hashes passwords: a core and 19 MiB each
	hashes = scale{"rare", 0, 10, 8, "100m", "64Mi", "256Mi"}   // likewise, and asks for a password now and then
	bulk   = scale{"bulk", 0, 10, 4, "100m", "128Mi", "768Mi"}  // holds files, pictures or parts of the archive in memory
	timer  = scale{"timer", 0, 1, 4, "25m", "32Mi", "128Mi"}    // called by a clock
	mover  = scale{"mover", 0, 1, 1, "100m", "128Mi", "768Mi"}  // likewise, with parts of the archive in memory
)

// scales are of the functions that are not rare. Patterns of path.Match.
var scales = []struct {
	pattern string
	scale   scale
}{
	{"chat-ingest", onPath},
	{"persist-*", onPath},
	{"push-fanout", onPath},
	{"push-signal", onPath},
	{"push-presence", onPath},
	{"inbox-heads", onPath},
	{"message-send", warm},
	{"message-sync", warm},
	{"message-read", warm},
	{"conversation-list", warm},
	{"token-refresh", warm},
	{"presence-get", warm},
	{"user-register", heavy},
	{"user-login", heavy},
	{"password-*", heavy},
	{"notify-away", onPath},
	{"webhook-deliver", onPath},
	{"file-complete", bulk},
	{"avatar-set", bulk},
	{"archive-read", bulk},
	{"archive-history", mover},
	{"outbox-relay", timer},
	{"*-sweep", timer},
	{"*-retry", timer},
	{"mail-send", timer},
	{"search-index", timer},
	{"inbox-trim", timer},
}

// groups are the deployables of a platform that allows few of them: stack.ce.yml
// and docker-compose.yml. The first pattern that matches decides.
var groups = []struct{ name, patterns string }{
	{"chat-ingest", "chat-ingest"},
	{"persist-history", "persist-history"},
	{"persist-inbox", "persist-inbox"},
	{"push-fanout", "push-fanout"},
	{"live", "push-signal,push-presence,inbox-heads"},
	{"timers", timers},
	{"users", "user-*,token-*,session-*,password-*,presence-*"},
	{"accounts", "email-*,oauth-*,identity-*,totp-*"},
	{"friends", "friend-*,block-*"},
	{"groups", "group-*"},
	{"messages", "message-*,conversation-*"},
	{"files", "file-*,avatar-*"},
	{"bots", "bot-*,webhook-create,webhook-list,webhook-update,webhook-delete"},
	{"away", "notify-away,webhook-deliver,push-key,push-subscribe,push-unsubscribe"},
	{"archive", "archive-read"},
}

// timers are the functions that a clock calls. Where they share a deployable the
// connector is the clock (CONNECTOR_TIMERS): a platform's own calls a deployable.
const timers = "outbox-relay,session-sweep,file-sweep,bot-sweep,notify-retry,webhook-retry,mail-send,search-index,archive-history,inbox-trim"

func groupOf(name string) string {
	for _, g := range groups {
		if matches(g.patterns, name) {
			return g.name
		}
	}
	return ""
}

func matches(patterns, name string) bool {
	return slices.ContainsFunc(strings.Split(patterns, ","), func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

func scaleOf(name string) scale {
	for _, s := range scales {
		if matches(s.pattern, name) {
			return s.scale
		}
	}
	return rare
}

// secrets are the settings that are not for everybody to read.
var secrets = []string{
	"ACCOUNT_KEYS", "ARCHIVE_URL", "MONGODB_URL", "NOTIFY_WEBHOOK_SECRET", "OAUTH_PROVIDERS", "POSTGRES_URL", "REDIS_URL", "S3_URL", "SEAL_KEYS", "SMTP_URL",
	"TOKEN_PRIVATE_KEY", "TOKEN_PUBLIC_KEYS", "VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY",
}

// choices are the settings that are no secrets and that nobody but who deploys
// knows: without them a feature does nothing, or links lead nowhere. All other
// settings have defaults that work.
var choices = []string{
	"ARCHIVE_AFTER", "AUDIT_TOPIC", "INBOX_KEEP", "INBOX_KEEP_ENTRIES", "MAIL_FROM", "NOTIFY_WEBHOOK_URL", "OAUTH_REDIRECTS", "S3_PUBLIC_URL", "SERVICE_NAME", "VAPID_CONTACT",
}

// wire asks each function what it reads when it starts: so nothing is given a
// secret that it does not use, and nothing is forgotten. What it starts without,
// though it would read it, is a feature that whoever deploys may leave out.
func wire() ([]function, error) {
	vars, err := pretended()
	if err != nil {
		return nil, err
	}
	var all []function
	for _, f := range functions.All {
		read := make(map[string]bool)
		for _, vars["INBOX_STORE"] = range []string{"mongodb", "postgres"} { // who deploys decides
			if err := settingsOf(f, vars, read); err != nil {
				return nil, fmt.Errorf("asking %s what it needs: %w", f.Name, err)
			}
		}
		w := function{Func: f, Kafka: read["KAFKA_BROKERS"], Inbox: read["INBOX_STORE"], Calls: read["FUNCTION_URL"], Scale: scaleOf(f.Name), Group: groupOf(f.Name)}
		if read["PASSWORD_PARALLEL"] && w.Scale == rare {
			w.Scale = hashes
		}
		for _, c := range choices {
			if read[c] {
				w.Told = append(w.Told, c)
			}
		}
		for _, s := range secrets {
			if !read[s] {
				continue
			}
			without := maps.Clone(vars)
			delete(without, s)
			if s == "SEAL_KEYS" {
				delete(without, "ACCOUNT_KEYS") // for which they stand in
			}
			if s == "MONGODB_URL" {
				without["INBOX_STORE"] = "mongodb"
			}
			if settingsOf(f, without, make(map[string]bool)) == nil {
				w.May = append(w.May, s)
			} else {
				w.Needs = append(w.Needs, s)
			}
		}
		if w.Group == "" {
			return nil, fmt.Errorf("%s is in no group: say in deploy/wiring.go in which", f.Name)
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b function) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// settingsOf adds the settings that f reads when it is built. Nothing connects
// to anything then.
func settingsOf(f fn.Func, vars map[string]string, read map[string]bool) error {
	var mu sync.Mutex
	env := proc.NewEnv(func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		read[name] = true
		return vars[name]
	}, slog.New(slog.DiscardHandler))
	defer env.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := fn.Mount(ctx, env, f)
	return err
}

// pretended are settings that have the right form.
func pretended() (map[string]string, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"POSTGRES_URL":      "postgres://127.0.0.1:1/d",
		"MONGODB_URL":       "mongodb://127.0.0.1:1/d",
		"REDIS_URL":         "redis://127.0.0.1:1",
		"KAFKA_BROKERS":     "127.0.0.1:1",
		"SEAL_KEYS":         "k:" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"TOKEN_PRIVATE_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
		"TOKEN_PUBLIC_KEYS": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
		"S3_URL":            "http://key:secret@127.0.0.1:1/files",
		"ARCHIVE_URL":       "http://key:secret@127.0.0.1:1/archive",
		"FUNCTION_URL":      "http://127.0.0.1:1/{function}",
		"AUDIT_TOPIC":       "true", // who writes it needs a way to Kafka, if it is to be turned on
	}, nil
}
