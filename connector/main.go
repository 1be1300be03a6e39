// Connector hands the events of Kafka topics to functions over HTTP, where the
// platform has no Kafka source of its own.
package main

import (
	"os"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/shared/proc"
)

func main() { proc.Main("connector", relay.Command(os.Args[1:], os.Stdout)) }
