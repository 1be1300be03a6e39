// Deploy writes the files by which Tidings is deployed, from functions.All:
// stack.yml and stack.ce.yml for OpenFaaS, what knative/base says of functions,
// how gateway and connector find them beside OpenFaaS, and docker-compose.yml. What is written is committed, and a test holds it to
// what this would write.
//
//	go run ./deploy
package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed templates
var templates embed.FS

// written are the files that are made, each of the template of its last name.
var written = []string{
	"stack.yml",
	"stack.ce.yml",
	"knative/base/functions.yaml",
	"knative/base/sources.yaml",
	"knative/base/timers.yaml",
	"docker-compose.yml",
	"openfaas/ce/settings.env",
	"openfaas/faasd.yaml",
}

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	files, err := render()
	if err != nil {
		return err
	}
	for name, b := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// render returns the files that are to be, by name.
func render() (map[string][]byte, error) {
	all, err := wire()
	if err != nil {
		return nil, err
	}
	set := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"secret":   func(setting string) string { return strings.ReplaceAll(strings.ToLower(setting), "_", "-") },
		"cron":     cron,
		"groups":   groupsSetting,
		"join":     strings.Join,
		"made":     func(secret string) bool { return slices.Contains(made, secret) },
		"composed": composed,
		"bytes":    func(quantity string) string { return strings.TrimSuffix(quantity, "i") }, // 64Mi as compose writes it
	})
	if set, err = set.ParseFS(templates, "templates/*"); err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	data := struct {
		Functions []function
		Groups    []group
		Timed     []function
		All       needs // of all functions
		Gateway   needs
		Connector needs
		Migrate   needs
	}{Functions: all, Groups: grouped(all), Timed: timed(all), Migrate: migrates}
	for _, f := range all {
		data.All = data.All.and(f.needs)
	}
	if data.Gateway, err = needsOf(buildGateway); err != nil {
		return nil, fmt.Errorf("asking the gateway what it needs: %w", err)
	}
	if data.Connector, err = needsOf(buildConnector); err != nil {
		return nil, fmt.Errorf("asking the connector what it needs: %w", err)
	}
	for _, name := range written {
		var b bytes.Buffer
		b.WriteString("# Written by `go run ./deploy`; change deploy/ and write it again.\n")
		if err := set.ExecuteTemplate(&b, filepath.Base(name)+".tmpl", data); err != nil {
			return nil, err
		}
		files[name] = b.Bytes()
	}
	return files, nil
}

// groupsSetting is the setting FUNCTION_GROUPS.
func groupsSetting() string {
	var all []string
	for _, g := range groups {
		all = append(all, g.name+"="+g.patterns)
	}
	return strings.Join(all, ";")
}

// cron returns how often d is in the five fields of cron.
func cron(d time.Duration) (string, error) {
	switch {
	case d == time.Minute:
		return "* * * * *", nil
	case d == time.Hour:
		return "0 * * * *", nil
	case d > time.Minute && d < time.Hour && time.Hour%d == 0 && d%time.Minute == 0:
		return fmt.Sprintf("*/%d * * * *", int(d.Minutes())), nil
	}
	return "", fmt.Errorf("%s is not a time that cron can tell: use minutes that divide an hour, or an hour", d)
}
