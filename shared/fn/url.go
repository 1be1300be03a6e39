package fn

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL    = proc.Setting{Name: "FUNCTION_URL", Default: "http://{function}:8080/", Doc: "where functions answer; {function} stands for the name of one, {group} for that of its group"}
	settingGroups = proc.Setting{Name: "FUNCTION_GROUPS", Doc: "which functions share a deployable, for {group}, as <group>=<name>,<pattern>;<group>=…, such as users=user-*,token-refresh; the first that fits decides, and who fits none is a group alone"}
)

// SettingServed names the setting by which a process without arguments is told
// which functions it serves.
const SettingServed = "FUNCTIONS"

var settingServed = proc.Setting{Name: "FUNCTIONS", Doc: "which functions `tidings functions` serves that is given no patterns, by names or patterns such as user-*, separated by commas; unset, all of them"}

// Chosen returns the functions that patterns choose; without any, those that the
// setting FUNCTIONS does, or all.
func Chosen(env *proc.Env, funcs []Func, patterns []string) ([]Func, error) {
	if len(patterns) == 0 {
		set := env.Settings()
		patterns = set.List(settingServed)
		if err := set.Err(); err != nil {
			return nil, err
		}
	}
	return Select(funcs, patterns)
}

// Find returns the function of a name.
func Find(funcs []Func, name string) (Func, bool) {
	i := slices.IndexFunc(funcs, func(f Func) bool { return f.Name == name })
	if i < 0 {
		return Func{}, false
	}
	return funcs[i], true
}

// Timers returns who is called by a clock, and how often, as the setting
// CONNECTOR_TIMERS says it; none is called less often than most, unless that is 0.
func Timers(funcs []Func, most time.Duration) string {
	var list []string
	for _, f := range funcs {
		if f.Every == 0 {
			continue
		}
		every := f.Every
		if most > 0 {
			every = min(every, most)
		}
		list = append(list, f.Name+"="+every.String())
	}
	return strings.Join(list, ",")
}

// Select returns those of funcs that names or patterns choose; all, if there
// are none. Each has to choose something.
func Select(funcs []Func, patterns []string) ([]Func, error) {
	if len(patterns) == 0 {
		return funcs, nil
	}
	var chosen []Func
	for _, p := range patterns {
		if !slices.ContainsFunc(funcs, func(f Func) bool { return fits([]string{p}, f.Name) }) {
			return nil, fmt.Errorf("%q is no function, and no pattern of one: name functions, or patterns such as user-*", p)
		}
	}
	for _, f := range funcs {
		if fits(patterns, f.Name) {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}

// URLs says where functions answer.
type URLs struct {
	template string
	groups   []grouped
}

type grouped struct {
	name     string
	patterns []string // of path.Match
}

// OpenURLs reads where functions answer, for who calls them.
func OpenURLs(env *proc.Env) (URLs, error) {
	env.Uses("functions")
	set := env.Settings()
	u := URLs{template: set.String(settingURL)}
	list := set.String(settingGroups)
	if err := set.Err(); err != nil {
		return u, err
	}
	var err error
	if u.groups, err = parseGroups(list); err != nil {
		return u, err
	}
	at, err := url.Parse(u.Of("name"))
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || !strings.Contains(u.template, "{function}") {
		return u, fmt.Errorf("setting %s: %q is not a URL with {function} in it, such as %s", settingURL.Name, u.template, settingURL.Default)
	}
	return u, nil
}

func parseGroups(list string) ([]grouped, error) {
	var groups []grouped
	for _, s := range strings.Split(list, ";") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		name, patterns, ok := strings.Cut(s, "=")
		g := grouped{name: strings.TrimSpace(name)}
		for _, p := range strings.Split(patterns, ",") {
			if p = strings.TrimSpace(p); p == "" {
				continue
			}
			if _, err := path.Match(p, ""); err != nil {
				return nil, fmt.Errorf("setting %s: %q is not a pattern such as user-*", settingGroups.Name, p)
			}
			g.patterns = append(g.patterns, p)
		}
		if !ok || g.name == "" || len(g.patterns) == 0 {
			return nil, fmt.Errorf("setting %s: %q is not <group>=<name>,<pattern>", settingGroups.Name, s)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// Of returns the URL of a function.
func (u URLs) Of(function string) string {
	return strings.NewReplacer("{function}", url.PathEscape(function), "{group}", url.PathEscape(u.group(function))).Replace(u.template)
}

func (u URLs) group(function string) string {
	for _, g := range u.groups {
		if fits(g.patterns, function) {
			return g.name
		}
	}
	return function
}

// fits reports whether a name is one of patterns, or fits one.
func fits(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}
