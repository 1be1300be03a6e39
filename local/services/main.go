// Services runs one of the embedded services by itself. It is what the
// program local has for the same, without the rest of Tidings in it, so that
// tests have it quickly and whatever state the rest is in.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/tidings-im/tidings/local/internal/embedded"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == embedded.FetchName {
		end(embedded.FetchCommand(os.Args[2:]))
		return
	}
	if len(os.Args) < 2 || embedded.Services[os.Args[1]].Start == nil {
		fmt.Fprintln(os.Stderr, "usage: services kafka|postgres|redis|s3 [flags]")
		os.Exit(2)
	}
	end(embedded.Command(os.Args[1], os.Args[2:]))
}

func end(err error) {
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
