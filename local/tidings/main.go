// Tidings runs all of Tidings on one machine, and holds a terminal chat to try
// it with. The program in local compiles it and runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/tidings-im/tidings/local/internal/chat"
	"github.com/tidings-im/tidings/local/internal/embedded"
	"github.com/tidings-im/tidings/local/internal/up"
)

const usage = `usage:
  local [up] [flags]          start everything on this machine
  local chat --as <account>   chat in this terminal
  local kafka [flags]         start one of the services alone:
  local postgres [flags]        each prints "ready <url>" when it answers
  local redis [flags]
  local s3 [flags]
-h after a command lists its flags.
`

func main() {
	err := run(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && !isHelp(args[0]) {
		return up.Command(args)
	}
	switch command := args[0]; {
	case command == "up":
		return up.Command(args[1:])
	case command == "chat":
		return chat.Command(args[1:])
	case command == embedded.FetchName: // for postgres
		return embedded.FetchCommand(args[1:])
	case command == "apart": // for up
		return up.Apart(args[1:])
	case embedded.Services[command].Start != nil:
		return embedded.Command(command, args[1:])
	case isHelp(command):
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("there is no command %q\n%s", command, usage)
	}
}

func isHelp(arg string) bool {
	return arg == "help" || arg == "-h" || arg == "-help" || arg == "--help"
}
