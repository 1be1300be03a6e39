// Capacity works out on paper what so many users need: instances, partitions,
// memory, disks, and about what that costs. docs/capacity.md tells where each
// figure comes from; what it shows is what this prints.
//
//	go run ./observe/capacity
//	go run ./observe/capacity -users 250000 -messages 60 -group 8
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Assumptions are how people behave, what things cost, and how careful one is.
// Another deployment has others.
type assumptions struct {
	messages  float64 // that a user sends on a day
	calls     float64 // of the API that a user makes on a day
	signIns   float64 // with a password, of a user on a day
	peak      float64 // the busiest hour's rate, of the day's mean
	online    float64 // share of users who are connected then
	devices   float64 // connected of each of them
	groups    float64 // share of messages that go to a group
	group     float64 // members of the group of such a message
	margin    float64 // CPU that is paid for, of what the benchmark used
	kept      float64 // days that history is kept
	inboxes   float64 // days that inboxes are kept
	files     float64 // share of messages that carry a file
	file      float64 // kB of it
	fetched   float64 // share of those who get such a message who open the file
	perCore   float64 // $ a month: a core with 4 GiB
	perGiB    float64 // $ a month: of memory beyond that
	perDisk   float64 // $ a month: a GiB of SSD
	perObject float64 // $ a month: a GiB of object storage
	perEgress float64 // $: a GiB to the internet
}

var defaults = assumptions{
	messages: 40, calls: 50, signIns: .05, peak: 3, online: .2, devices: 1.25, groups: .5, group: 20, margin: 4, kept: 365, inboxes: 365,
	files: .02, file: 400, fetched: .5,
	perCore: 30, perGiB: 3, perDisk: .1, perObject: .02, perEgress: .05,
}

// What was measured (docs/performance.md, docs/capacity.md).
const (
	// CPU µs of a message, and of each inbox that it goes to.
	tidingsMessage, tidingsInbox   = 55.8, 7.5
	postgresMessage, postgresInbox = 5.8, 7.0
	redisMessage, redisInbox       = 4.6, 1.3
	kafkaMessage                   = 57.0   // Apache Kafka, client and broker, at 35,000/s on two cores
	sidecar                        = 150.0  // one event through Knative's queue-proxy to a function
	signIn                         = 37_000 // Argon2id

	perConnection = 12.9 * 1024 // bytes of a gateway
	historyRow    = 390.0       // bytes in PostgreSQL, indexes and all, of a text of 100
	inboxRow      = 630.0       // likewise
	searchRow     = 54.0        // bytes in PostgreSQL of the index of searches, of a message
	archivedRow   = 97.0        // bytes in an object of the archive, of a text of 100
	record        = 700.0       // bytes of an event in Kafka
	recipient     = 48.0        // bytes more of each in tidings.deliveries
	frame         = 420.0       // bytes of a pushed message, as it leaves
	place         = 126.0       // bytes in Redis
	userInRedis   = 1000.0      // bytes: head, presence, caches, of who is online
)

// What was not measured, but estimated.
const (
	call                    = 600.0 // CPU µs of a call of the API: gateway, function, Redis
	renewal, renewalInRedis = 10, 5 // CPU µs of telling Redis that a connection is there
	renewals                = .1    // of each connection a second: PRESENCE_LEASE / 3
	storeMemory, leastCores = 64, 4 // GiB and cores of a node of PostgreSQL or MongoDB
	brokerCores             = 8
)

// What one of a thing is given.
const (
	connections   = 25_000 // of a gateway: half of MAX_CONNECTIONS
	perPartition  = 1000   // messages a second: what an ordered source does, with room
	redisCore     = .5     // of the one core of a shard
	onPath        = 12     // pods: two of each function of the message path
	brokerBytes   = 50e6   // a second, of a broker
	brokerDisk    = 10e12  // bytes of a broker
	postgresCores = 16     // of a node that holds history
	postgresDisk  = 20e12  // bytes of it
	mongoCores    = 16
	mongoDisk     = 10e12

	replicasKafka, replicasMongo, replicasPostgres, replicasRedis = 3, 3, 2, 2
)

const gib = 1 << 30

// A plan is what so many users need.
type plan struct {
	users     float64
	accepted  float64 // a second, at peak
	inboxes   float64 // rows a second, at peak
	delivered float64 // frames a second, at peak
	conns     float64

	gateways, cores, knative   float64 // cores: of functions, gateways and connector; knative: more, with KafkaSources
	partitions, brokers        float64
	shards, redisMemory        float64 // GiB of all shards, without replicas
	postgres, mongo            float64 // shards, each of some replicas
	postgresCPU, mongoCPU      float64 // cores of all shards
	kafkaDisk, history, inbox  float64 // bytes: of the topics; a day; a day
	search, files, archive     float64 // bytes: a day; a day; a year
	egress, filesEgress        float64 // bytes a month
	compute, disk, net, dollar float64 // a month
	objects                    float64 // $ a month
}

func (a assumptions) plan(users float64) plan {
	p := plan{users: users}
	perDay := users * a.messages
	recipients := (1-a.groups)*2 + a.groups*a.group // inboxes of a message, the sender's own among them
	p.accepted = perDay / 86400 * a.peak
	p.inboxes = p.accepted * recipients
	p.conns = users * a.online * a.devices
	p.delivered = p.inboxes * a.online * a.devices

	cpu := func(message, inbox float64) float64 {
		return p.accepted * (message + inbox*recipients) * a.margin / 1e6
	}
	aDay := func(times, each float64) float64 { return users * times / 86400 * a.peak * each * a.margin / 1e6 }
	p.cores = cpu(tidingsMessage, tidingsInbox) + aDay(a.calls, call) + aDay(a.signIns, signIn) + p.conns*renewals*renewal/1e6
	p.knative = p.accepted * 3 * sidecar * a.margin / 1e6
	p.gateways = atLeast(2, p.conns/connections)

	p.partitions = 8 * atLeast(1, p.accepted/perPartition/8)
	toKafka := 2*record + recipient*recipients // of a message, in both topics
	p.kafkaDisk = perDay * replicasKafka * (7*record + record + recipient*recipients)
	p.brokers = atLeast(replicasKafka, p.accepted*toKafka*replicasKafka*2/brokerBytes, p.kafkaDisk/brokerDisk, p.accepted*kafkaMessage*2*replicasKafka*a.margin/1e6/brokerCores)

	p.redisMemory = (p.accepted*2*3600*place + users*a.online*userInRedis) * 1.5 / gib
	p.shards = atLeast(1, (cpu(redisMessage, redisInbox)+p.conns*renewals*renewalInRedis/1e6)/redisCore, p.redisMemory/16)

	p.history, p.inbox = perDay*historyRow, perDay*recipients*inboxRow
	p.postgresCPU, p.mongoCPU = cpu(postgresMessage, 0), cpu(0, postgresInbox)
	p.search, p.archive = perDay*searchRow, perDay*365*archivedRow
	p.files = perDay * a.files * a.file * 1000
	p.postgres = atLeast(1, p.postgresCPU/postgresCores, (p.history+p.search)*a.kept/postgresDisk)
	p.mongo = atLeast(1, p.mongoCPU/mongoCores, p.inbox*a.inboxes/mongoDisk)

	p.egress = perDay * 30 * recipients * a.online * a.devices * frame
	p.filesEgress = p.files * 30 * (recipients - 1) * a.fetched
	p.cost(a)
	return p
}

// cost adds up what a month costs.
func (p *plan) cost(a assumptions) {
	broker, memory, least := float64(brokerCores), float64(storeMemory), float64(leastCores)
	if p.users < 1e5 { // small nodes do
		broker, memory, least = 2, 8, 2
	}
	cores := max(p.cores, 4) + p.brokers*broker + p.shards*replicasRedis
	beyond := p.redisMemory * replicasRedis // GiB that do not come with the cores
	for _, store := range []struct{ shards, cpu, replicas float64 }{
		{p.postgres, p.postgresCPU, replicasPostgres}, {p.mongo, p.mongoCPU, replicasMongo},
	} {
		node := atLeast(least, store.cpu/store.shards)
		cores += store.shards * store.replicas * node
		beyond += store.shards * store.replicas * max(0, memory-4*node)
	}
	p.compute = cores*a.perCore + beyond*a.perGiB
	p.disk = (p.kafkaDisk + (p.history+p.search)*a.kept*replicasPostgres + p.inbox*a.inboxes*replicasMongo) / gib * a.perDisk
	p.objects = (p.files*a.kept + p.archive) / gib * a.perObject
	p.net = (p.egress + p.filesEgress) / gib * a.perEgress
	p.dollar = p.compute + p.disk + p.objects + p.net
}

// atLeast returns the greatest of n, rounded up.
func atLeast(least float64, n ...float64) float64 {
	for _, v := range n {
		least = max(least, math.Ceil(v))
	}
	return least
}

// table writes plans beside each other, in Markdown.
func table(w io.Writer, plans []plan) {
	line := func(name string, value func(plan) string) {
		fmt.Fprintf(w, "| %s |", name)
		for _, p := range plans {
			fmt.Fprintf(w, " %s |", value(p))
		}
		fmt.Fprintln(w)
	}
	line("", func(p plan) string { return "**" + count(p.users) + " users**" })
	fmt.Fprintln(w, "|---|"+strings.Repeat("---:|", len(plans)))
	line("messages accepted per second, at peak", func(p plan) string { return count(p.accepted) })
	line("inbox entries per second", func(p plan) string { return count(p.inboxes) })
	line("frames delivered per second", func(p plan) string { return count(p.delivered) })
	line("connections", func(p plan) string { return count(p.conns) })
	line("gateways", func(p plan) string { return whole(p.gateways) })
	line("memory of each", func(p plan) string { return bytes(64<<20 + p.conns/p.gateways*perConnection) })
	line("pods of functions, of one core", func(p plan) string { return whole(atLeast(onPath, p.cores)) })
	line("cores of functions, gateways and connector", func(p plan) string { return count(atLeast(1, p.cores)) })
	line("cores more with Knative's KafkaSources", func(p plan) string { return count(atLeast(1, p.knative)) })
	line("partitions of each topic, most instances of a function", func(p plan) string { return whole(p.partitions) })
	line("Kafka brokers", func(p plan) string { return whole(p.brokers) })
	line("disk of Kafka, 3 copies", func(p plan) string { return bytes(p.kafkaDisk) })
	line("Redis shards, with a replica each", func(p plan) string { return whole(p.shards) })
	line("memory of Redis, without replicas", func(p plan) string { return bytes(p.redisMemory * gib) })
	line("PostgreSQL: Citus workers, 2 copies", func(p plan) string { return whole(p.postgres) })
	line("history, a day, 1 copy", func(p plan) string { return bytes(p.history) })
	line("index of searches, a day, 1 copy", func(p plan) string { return bytes(p.search) })
	line("MongoDB shards, 3 copies", func(p plan) string { return whole(p.mongo) })
	line("inboxes, a day, 1 copy", func(p plan) string { return bytes(p.inbox) })
	line("files, a day", func(p plan) string { return bytes(p.files) })
	line("archive, of a year's messages", func(p plan) string { return bytes(p.archive) })
	line("to clients, a month", func(p plan) string { return bytes(p.egress) })
	line("files to clients, a month", func(p plan) string { return bytes(p.filesEgress) })
	line("$ a month: computers", func(p plan) string { return dollars(p.compute) })
	line("$ a month: disks, once full", func(p plan) string { return dollars(p.disk) })
	line("$ a month: object storage, once full", func(p plan) string { return dollars(p.objects) })
	line("$ a month: to the internet", func(p plan) string { return dollars(p.net) })
	line("**$ a month, about**", func(p plan) string { return "**" + dollars(p.dollar) + "**" })
}

// whole writes a number of things.
func whole(v float64) string { return commas(fmt.Sprintf("%.0f", v)) }

// round returns v with two digits that count.
func round(v float64) float64 {
	if v < 100 {
		return max(0, math.Ceil(v-1e-9))
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Round(v/unit) * unit
}

// count writes about how many.
func count(v float64) string { return commas(fmt.Sprintf("%.0f", round(v))) }

func commas(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func dollars(v float64) string { return count(v) }

func bytes(v float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}

func main() {
	a := defaults
	users := flag.Float64("users", 0, "`users` on a day; 0 is 10⁴, 10⁶ and 10⁸")
	for _, f := range []struct {
		name, usage string
		value       *float64
	}{
		{"messages", "that a user sends on a day", &a.messages},
		{"calls", "of the API that a user makes on a day", &a.calls},
		{"signins", "with a password, of a user on a day", &a.signIns},
		{"peak", "rate of the busiest hour, of the day's mean", &a.peak},
		{"online", "share of users who are connected then", &a.online},
		{"devices", "connected, of each of them", &a.devices},
		{"groups", "share of messages that go to groups", &a.groups},
		{"group", "members of the group of such a message", &a.group},
		{"margin", "CPU that is paid for, of what the benchmark used", &a.margin},
		{"kept", "days that history is kept", &a.kept},
		{"inboxes", "days that inboxes are kept", &a.inboxes},
		{"files", "share of messages that carry a file", &a.files},
		{"file", "kB of a file", &a.file},
		{"fetched", "share of those who get such a message who open the file", &a.fetched},
		{"core", "$ a month for a core with 4 GiB", &a.perCore},
		{"gib", "$ a month for a GiB of memory beyond that", &a.perGiB},
		{"disk", "$ a month for a GiB of SSD", &a.perDisk},
		{"objects", "$ a month for a GiB of object storage", &a.perObject},
		{"egress", "$ for a GiB to the internet", &a.perEgress},
	} {
		flag.Float64Var(f.value, f.name, *f.value, f.usage)
	}
	flag.Parse()
	plans := []plan{a.plan(1e4), a.plan(1e6), a.plan(1e8)}
	if *users > 0 {
		plans = []plan{a.plan(*users)}
	}
	table(os.Stdout, plans)
}
