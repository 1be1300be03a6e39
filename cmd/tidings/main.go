// Tidings is every program of Tidings: each function, the gateway, the
// connector, what prepares the stores, and all of it in one process. What is
// deployed is one image of it, whose arguments say which.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/migrate"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

const usage = `usage:
  tidings function <name>          serve one function, at / and at /<name>
  tidings functions [<pattern> …]  serve those that patterns such as user-* choose, each at /<name>;
                                   without patterns, those of the setting FUNCTIONS, or all
  tidings gateway                  hold the connections of clients
  tidings connector                hand the events of Kafka topics to functions
  tidings connector replay [flags] hand dead letters to the functions they failed in
  tidings migrate                  bring tables, indexes, buckets and topics up to date
  tidings migrate keys <folder> …  make the keys that are missing in a folder
  tidings all                      gateway, connector and functions in one process, for a small site
  tidings list                     print the names of the functions
  tidings health <url>             end well if a program answers there
  tidings version
Without arguments, where a platform gives none, it serves the functions of the setting FUNCTIONS.
Settings are environment variables: docs/operations.md.
`

func main() {
	err := dispatch(os.Args[1:], os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "tidings:", err)
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, "\n", usage)
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("that is not how it is called")

// A part is what runs until the process is told to stop.
type part func(context.Context, *proc.Env) error

// dispatch does what args say. What serves ends the process by itself.
func dispatch(args []string, out io.Writer) error {
	if len(args) == 0 {
		if os.Getenv(fn.SettingServed) == "" {
			return fmt.Errorf("%w: say what to run, or set %s", errUsage, fn.SettingServed)
		}
		args = []string{"functions"}
	}
	command, rest := args[0], args[1:]
	switch {
	case command == "list" && len(rest) == 0:
		for _, f := range functions.All {
			fmt.Fprintln(out, f.Name)
		}
	case command == "health" && len(rest) == 1:
		return proc.Health(rest[0])
	case command == "version" && len(rest) == 0:
		fmt.Fprintln(out, version())
	case command == "help" || command == "-h" || command == "--help":
		fmt.Fprint(out, usage)
	default:
		name, run, err := find(command, rest, out)
		if err != nil {
			return err
		}
		proc.Main(name, run)
	}
	return nil
}

// find returns the part that a command runs, and its name in logs and traces.
func find(command string, args []string, out io.Writer) (string, part, error) {
	switch {
	case command == "function" && len(args) == 1:
		f, ok := fn.Find(functions.All, args[0])
		if !ok {
			return "", nil, fmt.Errorf("there is no function %q: tidings list prints their names", args[0])
		}
		return f.Name, func(ctx context.Context, env *proc.Env) error { return fn.Serve(ctx, env, f) }, nil
	case command == "functions":
		return command, func(ctx context.Context, env *proc.Env) error { return serveChosen(ctx, env, args) }, nil
	case command == "gateway" && len(args) == 0:
		return command, server.Run, nil
	case command == "connector":
		return command, relay.Command(args, out), nil
	case command == "migrate":
		return command, migrate.Command(args), nil
	case command == "all" && len(args) == 0:
		return command, all, nil
	}
	return "", nil, fmt.Errorf("%w: %q", errUsage, strings.Join(append([]string{command}, args...), " "))
}

// serveChosen serves the functions that patterns choose, or else the setting
// FUNCTIONS, or else all.
func serveChosen(ctx context.Context, env *proc.Env, patterns []string) error {
	var split []string
	for _, p := range patterns { // "a,b c" is what the setting would say as well
		split = append(split, strings.FieldsFunc(p, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	chosen, err := fn.Chosen(env, functions.All, split)
	if err != nil {
		return err
	}
	return fn.Serve(ctx, env, chosen...)
}

// version returns what the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	out := info.Main.Version + " " + info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision", "vcs.time", "GOOS", "GOARCH":
			out += " " + s.Value
		case "vcs.modified":
			if s.Value == "true" {
				out += " modified"
			}
		}
	}
	return out
}
