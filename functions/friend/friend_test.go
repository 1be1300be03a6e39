package friend

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

const most = 3 // friends

const both, self = ann + "," + bob, ann

// An outcome is what a call comes to.
type outcome struct {
	state string
	did   string // what was done, a line each
	told  string // the notices, a line each
	want  error
}

func (o outcome) check(t *testing.T, l *ledger, state string, err error) {
	t.Helper()
	if !errors.Is(err, o.want) || err == nil && o.want != nil || err != nil && o.want == nil {
		t.Fatalf("error = %v, want %v", err, o.want)
	}
	if state != o.state {
		t.Errorf("answered %q, want %q", state, o.state)
	}
	if did := strings.Join(l.did, "\n"); did != o.did {
		t.Errorf("did %q, want %q", did, o.did)
	}
	if told := l.told(t); told != o.told {
		t.Errorf("told\n%s\nwant\n%s", told, o.told)
	}
}

const requestedData = `{"user":"` + bob + `","message":"It is me","source":"search","requested_at":"2026-01-31T12:00:00.000000Z"}`

func TestRequest(t *testing.T) {
	pending := outcome{state: "pending", did: ann + " asks " + bob + " (hidden: false)", told: "friend.requested to " + both + " quietly " + requestedData}
	hidden := outcome{state: "pending", did: ann + " asks " + bob + " (hidden: true)", told: "friend.requested to " + self + " quietly " + requestedData}
	friends := outcome{state: "friends", did: ann + " and " + bob + " are friends", told: "friend.accepted to " + both + " {}"}
	for _, tt := range []struct {
		name   string
		ledger ledger
		outcome
	}{
		{"a stranger", ledger{is: im.PairState{Exist: true, Takes: true}}, pending},
		{"again", ledger{is: im.PairState{Exist: true, Takes: true, Asked: noon - 1}}, outcome{state: "pending"}},
		{"again, what was hidden", ledger{is: im.PairState{Exist: true, BlockedBy: true, Asked: noon - 1}}, outcome{state: "pending"}},
		{"again when the first is over", ledger{is: im.PairState{Exist: true, Takes: true, Asked: over}}, pending},
		{"a friend", ledger{is: im.PairState{Exist: true, Friends: true}}, outcome{state: "friends"}},
		{"a friend who has blocked the caller", ledger{is: im.PairState{Exist: true, Friends: true, BlockedBy: true}}, outcome{state: "friends"}},
		{"who has blocked the caller", ledger{is: im.PairState{Exist: true, Takes: true, BlockedBy: true}}, hidden},
		{"who takes no requests", ledger{is: im.PairState{Exist: true}}, hidden},
		{"whom the caller has blocked", ledger{is: im.PairState{Exist: true, Takes: true, Blocks: true}}, outcome{want: im.Conflict}},
		{"who asks, too: it is a friendship", ledger{is: im.PairState{Exist: true, Takes: true, AskedBy: over + 1}}, friends},
		{"who asks, too, and has blocked the caller since", ledger{is: im.PairState{Exist: true, BlockedBy: true, AskedBy: noon}}, friends},
		{"who asked while the caller had blocked them", ledger{is: im.PairState{Exist: true, Takes: true, AskedBy: noon, Hidden: true}}, friends},
		{"whose own request is over", ledger{is: im.PairState{Exist: true, Takes: true, AskedBy: over}}, pending},
		{"nobody", ledger{}, outcome{want: im.NotFound}},
		{"with as many open requests as may be", ledger{is: im.PairState{Exist: true, Takes: true}, open: maxOpen - 1}, pending},
		{"with one more", ledger{is: im.PairState{Exist: true, Takes: true}, open: maxOpen}, outcome{want: im.Conflict}},
		{"who asks, too, the last friend that the caller may have", ledger{is: im.PairState{Exist: true, AskedBy: noon}, users: most, others: most}, friends},
		{"who asks, too, one more", ledger{is: im.PairState{Exist: true, AskedBy: noon}, users: most + 1, others: 1}, outcome{want: im.Conflict}},
		{"who asks, too, and has too many friends", ledger{is: im.PairState{Exist: true, AskedBy: noon}, users: 1, others: most + 1}, outcome{want: im.Conflict}},
		{"the database is down", ledger{is: im.PairState{Exist: true, Takes: true}, err: down}, outcome{want: im.Unavailable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := &door{}
			r := &requester{change: in[asking](&tt.ledger), limit: limit, newcomers: &door{}, most: most, life: life, now: func() im.Time { return noon }}
			got, err := r.request(t.Context(), caller, requestIn{User: bob, Message: "It is me", Source: "search"})
			tt.check(t, &tt.ledger, got.State, err)
			if len(limit.asked) != 1 || limit.asked[0] != ann {
				t.Errorf("counted %v", limit.asked)
			}
		})
	}
}

func TestRequestsThatCanNeverBe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    requestIn
		limit error
		want  error
	}{
		{"to oneself", requestIn{User: ann}, nil, im.Invalid},
		{"to what is no user by its form", requestIn{User: "bob"}, nil, im.Invalid},
		{"to none", requestIn{}, nil, im.Invalid},
		{"with the longest message", requestIn{User: bob, Message: strings.Repeat("é", 200)}, nil, nil},
		{"with one that is longer", requestIn{User: bob, Message: strings.Repeat("é", 201)}, nil, im.Invalid},
		{"with a message that cannot be stored", requestIn{User: bob, Message: "\x00"}, nil, im.Invalid},
		{"with the longest source", requestIn{User: bob, Source: strings.Repeat("x", 32)}, nil, nil},
		{"with one that is longer", requestIn{User: bob, Source: strings.Repeat("x", 33)}, nil, im.Invalid},
		{"with a source that is no word", requestIn{User: bob, Source: "a card"}, nil, im.Invalid},
		{"too often", requestIn{User: bob}, &im.Error{Kind: im.Overloaded}, im.Overloaded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &ledger{is: im.PairState{Exist: true, Takes: true}}
			r := &requester{change: in[asking](l), limit: &door{err: tt.limit}, newcomers: &door{}, most: most, life: life, now: func() im.Time { return noon }}
			_, err := r.request(t.Context(), caller, tt.in)
			if !errors.Is(err, tt.want) || (tt.want == nil) != (len(l.did) == 1) || (tt.want == nil) != (err == nil) {
				t.Errorf("error = %v, want %v; did %v", err, tt.want, l.did)
			}
		})
	}
}

func TestRespond(t *testing.T) {
	yes, no := true, false
	accepted := outcome{state: "friends", did: ann + " and " + bob + " are friends", told: "friend.accepted to " + both + " {}"}
	rejected := outcome{state: "none", did: bob + " does not ask " + ann}
	for _, tt := range []struct {
		name   string
		accept *bool
		ledger ledger
		outcome
	}{
		{"accept", &yes, ledger{is: im.PairState{Exist: true, AskedBy: over + 1}}, accepted},
		{"accept who has blocked the caller since", &yes, ledger{is: im.PairState{Exist: true, AskedBy: noon, BlockedBy: true}}, accepted},
		{"accept where both have asked", &yes, ledger{is: im.PairState{Exist: true, AskedBy: noon, Asked: noon}}, accepted},
		{"accept again", &yes, ledger{is: im.PairState{Exist: true, Friends: true}}, outcome{state: "friends"}},
		{"accept what is over", &yes, ledger{is: im.PairState{Exist: true, AskedBy: over}}, outcome{want: im.NotFound}},
		{"accept what is hidden", &yes, ledger{is: im.PairState{Exist: true, AskedBy: noon, Hidden: true}}, outcome{want: im.NotFound}},
		{"accept what nobody has asked", &yes, ledger{is: im.PairState{Exist: true}}, outcome{want: im.NotFound}},
		{"accept who does not exist", &yes, ledger{}, outcome{want: im.NotFound}},
		{"accept with too many friends", &yes, ledger{is: im.PairState{Exist: true, AskedBy: noon}, users: most + 1}, outcome{want: im.Conflict}},
		{"accept who has too many friends", &yes, ledger{is: im.PairState{Exist: true, AskedBy: noon}, others: most + 1}, outcome{want: im.Conflict}},
		{"reject", &no, ledger{is: im.PairState{Exist: true, AskedBy: noon}}, rejected},
		{"reject again", &no, ledger{is: im.PairState{Exist: true}}, outcome{want: im.NotFound}},
		{"reject what is hidden", &no, ledger{is: im.PairState{Exist: true, AskedBy: noon, Hidden: true}}, outcome{want: im.NotFound}},
		{"reject a friend", &no, ledger{is: im.PairState{Exist: true, Friends: true}}, outcome{want: im.NotFound}},
		{"neither", nil, ledger{is: im.PairState{Exist: true, AskedBy: noon}}, outcome{want: im.Invalid}},
		{"the database is down", &no, ledger{is: im.PairState{Exist: true, AskedBy: noon}, err: down}, outcome{want: im.Unavailable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &responder{change: in[responding](&tt.ledger), most: most, life: life, now: func() im.Time { return noon }}
			got, err := r.respond(t.Context(), caller, respondIn{User: bob, Accept: tt.accept})
			tt.check(t, &tt.ledger, got.State, err)
		})
	}
}

func TestP6NobodyAcceptsTheirOwnRequest(t *testing.T) {
	yes := true
	for name, user := range map[string]string{"naming whom they have asked": bob, "naming themselves": ann} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{is: im.PairState{Exist: true, Asked: noon}}
			r := &responder{change: in[responding](l), most: most, life: life, now: func() im.Time { return noon }}
			got, err := r.respond(t.Context(), caller, respondIn{User: user, Accept: &yes})
			if err == nil || got.State != "" || len(l.did) > 0 || len(l.notices) > 0 {
				t.Errorf("answered %v, %v; did %v", got, err, l.did)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	for _, tt := range []struct {
		name   string
		user   string
		ledger ledger
		outcome
	}{
		{"a friend", bob, ledger{is: im.PairState{Exist: true, Friends: true}},
			outcome{did: ann + " and " + bob + " are none", told: "friend.deleted to " + both + " quietly {}"}},
		{"a friend who has blocked the caller", bob, ledger{is: im.PairState{Exist: true, Friends: true, BlockedBy: true}},
			outcome{did: ann + " and " + bob + " are none", told: "friend.deleted to " + both + " quietly {}"}},
		{"who is none", bob, ledger{is: im.PairState{Exist: true}}, outcome{}},
		{"nobody", bob, ledger{}, outcome{}},
		{"oneself", ann, ledger{}, outcome{want: im.Invalid}},
		{"what is no user by its form", "bob", ledger{}, outcome{want: im.Invalid}},
		{"the database is down", bob, ledger{is: im.PairState{Exist: true, Friends: true}, err: down}, outcome{want: im.Unavailable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := remove(in[parting](&tt.ledger))(t.Context(), caller, userIn{tt.user})
			tt.check(t, &tt.ledger, "", err)
			if !tt.ledger.is.Friends && tt.ledger.locked {
				t.Error("locked for nothing")
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	remark := func(s string) *string { return &s }
	for _, tt := range []struct {
		name   string
		in     updateIn
		ledger ledger
		outcome
	}{
		{"a friend", updateIn{bob, remark("Bobby")}, ledger{is: im.PairState{Friends: true}},
			outcome{told: "friend.updated to " + self + ` quietly {"user":"` + bob + `","remark":"Bobby"}`}},
		{"to nothing", updateIn{bob, remark("")}, ledger{is: im.PairState{Friends: true}, remark: "Bobby"},
			outcome{told: "friend.updated to " + self + ` quietly {"user":"` + bob + `","remark":""}`}},
		{"again", updateIn{bob, remark("Bobby")}, ledger{is: im.PairState{Friends: true}, remark: "Bobby"}, outcome{}},
		{"as long as may be", updateIn{bob, remark(strings.Repeat("é", 64))}, ledger{is: im.PairState{Friends: true}, remark: strings.Repeat("é", 64)}, outcome{}},
		{"longer", updateIn{bob, remark(strings.Repeat("é", 65))}, ledger{is: im.PairState{Friends: true}}, outcome{want: im.Invalid}},
		{"in two lines", updateIn{bob, remark("a\nb")}, ledger{is: im.PairState{Friends: true}}, outcome{want: im.Invalid}},
		{"without saying to what", updateIn{bob, nil}, ledger{is: im.PairState{Friends: true}}, outcome{want: im.Invalid}},
		{"who is none", updateIn{bob, remark("Bobby")}, ledger{}, outcome{want: im.NotFound}},
		{"oneself", updateIn{ann, remark("Me")}, ledger{}, outcome{want: im.Invalid}},
		{"the database is down", updateIn{bob, remark("Bobby")}, ledger{is: im.PairState{Friends: true}, err: down}, outcome{want: im.Unavailable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := update(in[remarking](&tt.ledger))(t.Context(), caller, tt.in)
			tt.check(t, &tt.ledger, "", err)
		})
	}
}

func TestBlock(t *testing.T) {
	yes, no := true, false
	told := func(blocked string) string {
		return "block.changed to " + self + ` quietly {"user":"` + bob + `","blocked":` + blocked + "}"
	}
	for _, tt := range []struct {
		name   string
		in     blockIn
		ledger ledger
		outcome
	}{
		{"a stranger", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true}}, outcome{did: ann + " blocks " + bob, told: told("true")}},
		{"a friend, who stays one", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true, Friends: true}}, outcome{did: ann + " blocks " + bob, told: told("true")}},
		{"who has blocked the caller", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true, BlockedBy: true}}, outcome{did: ann + " blocks " + bob, told: told("true")}},
		{"again", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true, Blocks: true}}, outcome{}},
		{"nobody", blockIn{bob, &yes}, ledger{}, outcome{want: im.NotFound}},
		{"the last who may be", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true}, blocked: maxBlocks}, outcome{did: ann + " blocks " + bob, told: told("true")}},
		{"one more", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true}, blocked: maxBlocks + 1}, outcome{want: im.Conflict}},
		{"no longer", blockIn{bob, &no}, ledger{is: im.PairState{Exist: true, Blocks: true}}, outcome{did: ann + " does not block " + bob, told: told("false")}},
		{"no longer, again", blockIn{bob, &no}, ledger{is: im.PairState{Exist: true}}, outcome{}},
		{"nobody any longer", blockIn{bob, &no}, ledger{}, outcome{}},
		{"oneself", blockIn{ann, &yes}, ledger{}, outcome{want: im.Invalid}},
		{"without saying whether", blockIn{bob, nil}, ledger{is: im.PairState{Exist: true}}, outcome{want: im.Invalid}},
		{"the database is down", blockIn{bob, &yes}, ledger{is: im.PairState{Exist: true}, err: down}, outcome{want: im.Unavailable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := set(in[blocking](&tt.ledger))(t.Context(), caller, tt.in)
			tt.check(t, &tt.ledger, "", err)
			if !*orTrue(tt.in.Blocked) && !tt.ledger.is.Blocks && tt.ledger.locked {
				t.Error("locked for nothing")
			}
		})
	}
}

func orTrue(b *bool) *bool {
	if yes := true; b == nil {
		return &yes
	}
	return b
}
