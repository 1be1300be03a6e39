package child

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func setDeathSignal(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// adopt makes the descendants of this process its children when their own
// parents end. In a container whose first process collects no dead ones they
// would stay in the process table, and PostgreSQL takes them for alive.
var adopt = sync.OnceFunc(func() {
	const prSetChildSubreaper = 36 // prctl(2)
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
})

// awaitEnd waits until a killed descendant is gone.
func awaitEnd(pid int) {
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil && time.Now().Before(deadline) {
		syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // if it is ours by now
		time.Sleep(time.Millisecond)
	}
}

// parents returns the parent of every process.
func parents() map[int]int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	of := make(map[int]int, len(stats))
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; the name may hold anything (proc(5)).
		s := string(b)
		fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		of[pid], _ = strconv.Atoi(fields[1])
	}
	return of
}

// CommandLine returns the arguments of a process joined by spaces, or "" if
// there is none of this id.
func CommandLine(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
