package main

import (
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

const page = "../../docs/capacity.md"

// The tables of docs/capacity.md are what the program prints.
func TestThePageShowsWhatIsWorkedOut(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	short := defaults
	short.inboxes = 32
	for _, tt := range []struct {
		mark string
		a    assumptions
	}{{"all", defaults}, {"inboxes of 32 days", short}} {
		begin, end := "<!-- "+tt.mark+" -->\n\n", "\n<!-- end of "+tt.mark+" -->"
		_, rest, found := strings.Cut(string(text), begin)
		got, _, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has nothing between %q and %q", page, begin, end)
		}
		var want strings.Builder
		table(&want, []plan{tt.a.plan(1e4), tt.a.plan(1e6), tt.a.plan(1e8)})
		if got != want.String() {
			t.Errorf("%s has\n%s\nbut it is\n%s", page, got, want.String())
		}
	}
	for _, v := range []float64{
		tidingsMessage, tidingsInbox, postgresMessage, postgresInbox, redisMessage, redisInbox, kafkaMessage, sidecar, historyRow, inboxRow, searchRow, archivedRow, record, recipient, frame, place,
		call, renewal, renewalInRedis, defaults.messages, defaults.calls, defaults.signIns, defaults.peak, defaults.devices, defaults.group, defaults.margin, defaults.kept, defaults.file, defaults.fetched * 100, defaults.perObject,
	} {
		if s := strconv.FormatFloat(v, 'f', -1, 64); !strings.Contains(string(text), s) {
			t.Errorf("%s does not say where %s comes from", page, s)
		}
	}
}

// The arithmetic by hand, for a million.
func TestAMillion(t *testing.T) {
	p := defaults.plan(1e6)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/100 {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	near("accepted", p.accepted, 1e6*40/86400.*3)                 // 1,389
	near("inboxes", p.inboxes, 1389*11)                           // half to 2, half to 20
	near("connections", p.conns, 250_000)                         // a fifth of them, 1.25 devices each
	near("delivered", p.delivered, 1389*11*.25)                   //
	near("gateways", p.gateways, 10)                              // 25,000 each
	near("history", p.history, 40e6*390)                          // a row each
	near("inbox", p.inbox, 40e6*11*630)                           // eleven rows each
	near("files", p.files, 40e6*.02*400e3)                        // one message in fifty
	near("files out", p.filesEgress, 40e6*.02*400e3*30*5)         // half of ten others
	near("index of searches", p.search, 40e6*54)                  // of each message
	near("archive", p.archive, 40e6*97*365)                       //
	near("cores", p.cores, .768+1736*600*4/1e6+.064*4.*1.005+.25) // messages, calls, passwords, presence
}

func TestMoreUsersNeverNeedLess(t *testing.T) {
	before := defaults.plan(1e3)
	for users := 2e3; users < 1e9; users *= 1.7 {
		p := defaults.plan(users)
		for _, grows := range []struct {
			what     string
			was, now float64
		}{
			{"gateways", before.gateways, p.gateways}, {"cores", before.cores, p.cores}, {"partitions", before.partitions, p.partitions}, {"brokers", before.brokers, p.brokers},
			{"shards", before.shards, p.shards}, {"postgres", before.postgres, p.postgres}, {"mongo", before.mongo, p.mongo}, {"dollars", before.dollar, p.dollar},
		} {
			if grows.now < grows.was {
				t.Errorf("%.0f users need fewer %s: %v, not %v", users, grows.what, grows.now, grows.was)
			}
		}
		before = p
	}
}

func TestNumbersAsTheyAreWritten(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.2: "2", 99: "99", 1389: "1,400", 25e6: "25,000,000"} {
		if got := count(v); got != want {
			t.Errorf("count(%v) = %s, want %s", v, got, want)
		}
	}
	if whole(1234567) != "1,234,567" || bytes(999) != "999 B" || bytes(27.7e12) != "27.7 TB" {
		t.Error(whole(1234567), bytes(999), bytes(27.7e12))
	}
}
