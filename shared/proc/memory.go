package proc

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

var settingMemory = Setting{Name: "MEMORY_LIMIT", Doc: "bytes of memory that the process may use: bodies, work and answers under way have a share of it, and Go's garbage collector keeps to nine tenths unless GOMEMLIMIT is set; unset, it is the limit of the control group, if there is one"}

// cgroups is where the control groups of a container are.
const cgroups = "/sys/fs/cgroup"

// memoryLimit returns how many bytes of memory the process may use by its
// control group, whose files are under root, or 0 if that is not limited, or
// not known. self is /proc/self/cgroup: it says which group, where the process
// sees others than its own
// (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files).
func memoryLimit(root, self string) int64 {
	v2, v1 := groupsOf(self)
	limit := int64(0)
	for _, file := range []string{
		filepath.Join(root, v2, "memory.max"),
		filepath.Join(root, "memory.max"),
		filepath.Join(root, "memory", v1, "memory.limit_in_bytes"),
		filepath.Join(root, "memory", "memory.limit_in_bytes"),
	} {
		if n := limitIn(file); n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}

// groupsOf returns the paths of the groups in /proc/self/cgroup: of version 2,
// and of the memory of version 1 (cgroups(7)).
func groupsOf(self string) (v2, v1 string) {
	b, _ := os.ReadFile(self) // without it, the group is at the root
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		id, rest, _ := strings.Cut(lines.Text(), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && controllers == "":
			v2 = path
		case controllers == "memory":
			v1 = path
		}
	}
	return v2, v1
}

// limitIn returns the limit that a file says, or 0 if it says none.
func limitIn(file string) int64 {
	const unlimited = 1 << 60 // version 1 has a large number for it
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}

// Memory returns how many bytes of memory the process may use, or 0 if that is
// not known.
func (e *Env) Memory() (int64, error) {
	set := e.Settings()
	n := int64(set.Int(settingMemory, 1))
	if n == 0 {
		n = e.group
	}
	return n, set.Err()
}

// keepMemory has the garbage collector keep the heap within the limit of the
// process. What is not Go's (sockets, the program itself) has the rest.
func (e *Env) keepMemory() error {
	limit, err := e.Memory()
	if err == nil && limit > 0 && e.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapOf(limit))
	}
	return err
}

// heapOf returns how much of a limit Go may use.
func heapOf(limit int64) int64 { return limit / 10 * 9 }

// The parts of a process's memory.
const (
	baseMemory = 40 << 20 // that a process needs before anything is under way

	// What is lent where no limit is known, and the most that is anywhere: what
	// has more memory than that has it for something else.
	mostBodies = 64 << 20
	mostWork   = 128 << 20
)

// Budgets are the bytes of memory that a process lends to what is under way.
// Together with what a process needs anyway they are less than its limit, so
// that who asks for too much is refused, and nobody has it killed.
type Budgets struct {
	Bodies *Budget // to requests that are read
	Work   *Budget // to calls that are made, and to their answers until they are written

	spare *Budget // what neither may have
}

// Budgets returns the budgets of the process.
func (e *Env) Budgets() (Budgets, error) {
	return Share(e, "proc.Budgets", func() (Budgets, func() error, error) {
		limit, err := e.Memory()
		bodies, work, spare := sharesOf(limit)
		return Budgets{NewBudget(bodies), NewBudget(work), NewBudget(spare)}, nil, err
	})
}

// Reserve sets memory aside, for good, for n things of so many bytes that a
// process holds at a time and that are more than a call may: of what neither
// bodies nor work may have, or else of work, of which it takes a quarter, or one
// if that is more. It returns for how many; 0 is that not one fits.
func (b Budgets) Reserve(n int, size int64) int {
	for fit := min(n, int(b.spare.Size()/size)); fit > 0; fit-- {
		if b.spare.TryTake(int64(fit) * size) {
			return fit
		}
	}
	for fit := min(n, int(max(b.Work.Size()/4/size, 1))); fit > 0; fit-- {
		if b.Work.TryTake(int64(fit) * size) {
			return fit
		}
	}
	return 0
}

// sharesOf returns what of a limit is lent. Of what is left beside the base
// three tenths are bodies and half is work, up to what they are at most: a fifth
// is garbage, and headers.
func sharesOf(limit int64) (bodies, work, spare int64) {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	free := max(heapOf(limit)-baseMemory, heapOf(limit)/4)
	bodies, work = min(free/10*3, mostBodies), min(free/2, mostWork)
	return bodies, work, max(free/5*4-bodies-work, 0)
}
