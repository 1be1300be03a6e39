package redis

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// What is said to a group costs by its recipients, for that is the work it
// makes: its sender, and the group. Both have budgets that refill.
var (
	settingSenderRate  = proc.Setting{Name: "RECIPIENTS_PER_MINUTE", Default: "20000", Doc: "recipients per minute that a user's messages to groups, and their changes that groups are told of, may have in the long run: 20 messages to a group of 1,000"}
	settingSenderBurst = proc.Setting{Name: "RECIPIENTS_BURST", Default: "10000", Doc: "recipients that they may have at once after a pause"}
	settingGroupRate   = proc.Setting{Name: "GROUP_RECIPIENTS_PER_MINUTE", Default: "240000", Doc: "recipients per minute that all messages to a group may have in the long run: 4 messages a second to a group of 1,000"}
	settingGroupBurst  = proc.Setting{Name: "GROUP_RECIPIENTS_BURST", Default: "120000", Doc: "recipients that they may have at once after a pause"}
)

// A budget is so many recipients per minute, and at once.
type budget struct{ unit, burst int64 } // ns that one recipient takes to refill; recipients

func budgetOf(set *proc.Settings, rate, burst proc.Setting) budget {
	return budget{unit: int64(time.Minute) / int64(set.Int(rate, 1)), burst: int64(set.Int(burst, 1))}
}

// cost returns what is taken from b for so many recipients, in ns of its
// refilling: never more than there is when it is full, or it would be refused
// for ever.
func (b budget) cost(recipients int) int64 { return b.unit * min(int64(recipients), b.burst) }

// charge takes costs from a budget (GCRA: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
//
// KEYS: when the budget is full again, in ns. ARGV: what it has when it is
// full, in ns of refilling, and then the costs. The answer has for each 0, or
// in how many ns it can be taken: then it is not.
var charge = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local out, taken = {}, false
for i = 2, #ARGV do
  local cost = tonumber(ARGV[i])
  local wait = full + cost - now - ARGV[1]
  if wait > 0 then
    out[#out + 1] = math.ceil(wait)
  else
    full = full + cost
    taken = true
    out[#out + 1] = 0
  end
end
if taken then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', math.ceil((full - now) / 1000)))
end
return out
`)

// Charge takes from the budgets of users what they are about to cost, all of a
// user in one step, and returns an error for each charge. Overloaded: there is
// not as much left; nothing was taken. Without Redis nobody is charged, and the
// error is Unavailable.
func (c *Client) Charge(ctx context.Context, charges []im.Charge) []error {
	errs := make([]error, len(charges))
	if len(charges) == 0 {
		return errs
	}
	var runs []script
	var of [][]int
	index := make(map[string]int)
	for i, ch := range charges {
		n, ok := index[ch.User]
		if !ok {
			n = len(runs)
			index[ch.User] = n
			runs = append(runs, script{keys: []string{"recipients:{" + ch.User + "}"}, args: []any{micros(c.sender.cost(int(c.sender.burst)))}})
			of = append(of, nil)
		}
		runs[n].args = append(runs[n].args, micros(c.sender.cost(ch.Recipients)))
		of[n] = append(of[n], i)
	}
	for n, cmd := range c.eval(ctx, charge, len(runs), func(i int) script { return runs[i] }) {
		waits, err := cmd.Int64Slice()
		for j, i := range of[n] {
			switch {
			case err != nil || len(waits) != len(of[n]):
				errs[i] = unavailable("counting recipients", err)
			case waits[j] > 0:
				errs[i] = &im.Error{Kind: im.Overloaded, Msg: "you write to too many people at once: wait and try again", RetryAfter: time.Duration(waits[j]) * time.Microsecond}
			}
		}
	}
	return errs
}

// micros returns ns as the µs of scripts, of which there may be parts.
func micros(ns int64) float64 { return float64(ns) / 1000 }
