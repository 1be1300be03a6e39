package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
)

// A function is one of functions.All, and what its deployment depends on.
type function struct {
	fn.Func
	needs
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

// MaxReplicas is the most replicas of f.
func (f function) MaxReplicas() int { return f.Scale.Max }

// Patterns is what its deployable serves: itself.
func (f function) Patterns() string { return f.Name }

// Shared reports whether others share its deployable: nobody does.
func (f function) Shared() bool { return false }

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
	{"files", "file-create,file-complete,file-get,avatar-*"},
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

// wire returns the functions with what they need, in the order of their names.
// Nobody changes what it returns.
var wire = sync.OnceValues(func() ([]function, error) {
	var all []function
	for _, f := range functions.All {
		n, err := needsOf(mount(f))
		if err != nil {
			return nil, fmt.Errorf("asking %s what it needs: %w", f.Name, err)
		}
		w := function{Func: f, needs: n, Scale: scaleOf(f.Name), Group: groupOf(f.Name)}
		if w.Reads("PASSWORD_PARALLEL") && w.Scale == rare {
			w.Scale = hashes
		}
		if w.Group == "" {
			return nil, fmt.Errorf("%s is in no group: say in deploy/wiring.go in which", f.Name)
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b function) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
})
