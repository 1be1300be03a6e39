package fn_test

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
)

func TestAFunctionIsFoundByItsNameOrItsGroup(t *testing.T) {
	const groups = "live=push-*,inbox-heads; users = user-*, token-refresh"
	for _, tt := range []struct{ name, template, groups, function, want string }{
		{"by name", "http://{function}:8080/", "", "chat-ingest", "http://chat-ingest:8080/"},
		{"by default", "", "", "chat-ingest", "http://chat-ingest:8080/"},
		{"by its group's pattern", "http://{group}:8080/{function}", groups, "push-signal", "http://live:8080/push-signal"},
		{"by its name in a group", "http://{group}:8080/{function}", groups, "token-refresh", "http://users:8080/token-refresh"},
		{"in no group", "http://{group}:8080/{function}", groups, "chat-ingest", "http://chat-ingest:8080/chat-ingest"},
	} {
		urls, err := fn.OpenURLs(newEnv(t, map[string]string{"FUNCTION_URL": tt.template, "FUNCTION_GROUPS": tt.groups}))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := urls.Of(tt.function); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestURLsThatCannotBeAreRefused(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"one for all functions":  {"FUNCTION_URL": "http://functions/"},
		"of another kind":        {"FUNCTION_URL": "ftp://{function}/"},
		"without a host":         {"FUNCTION_URL": "{function}"},
		"a group without a name": {"FUNCTION_GROUPS": "=user-*"},
		"a group of nothing":     {"FUNCTION_GROUPS": "users="},
		"a group without a sign": {"FUNCTION_GROUPS": "users"},
		"a pattern that is none": {"FUNCTION_GROUPS": "users=user-[a"},
	} {
		_, err := fn.OpenURLs(newEnv(t, vars))
		if err == nil || !strings.Contains(err.Error(), "FUNCTION_") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProcessServesTheFunctionsThatAreChosen(t *testing.T) {
	all := []fn.Func{{Name: "user-login"}, {Name: "user-get"}, {Name: "chat-ingest"}}
	for _, tt := range []struct {
		patterns []string
		want     string
	}{
		{nil, "user-login user-get chat-ingest"},
		{[]string{"user-*"}, "user-login user-get"},
		{[]string{"chat-ingest", "user-get"}, "user-get chat-ingest"},
	} {
		got, err := fn.Select(all, tt.patterns)
		var names []string
		for _, f := range got {
			names = append(names, f.Name)
		}
		if err != nil || strings.Join(names, " ") != tt.want {
			t.Errorf("%q: %q, %v", tt.patterns, names, err)
		}
	}
	if _, err := fn.Select(all, []string{"user-*", "usr-*"}); err == nil || !strings.Contains(err.Error(), "usr-*") {
		t.Errorf("a pattern that fits nothing: %v", err)
	}
}
