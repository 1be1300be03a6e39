//go:build unix && !linux

package child

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// There is no such signal here.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

func adopt() {}

// awaitEnd waits until a killed descendant is gone.
func awaitEnd(pid int) {
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}

// parents returns the parent of every process.
func parents() map[int]int {
	of := make(map[int]int)
	out, err := exec.Command("ps", "-axo", "pid=,ppid=").Output()
	if err != nil {
		return of
	}
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		if n, _ := fmt.Sscan(line, &pid, &ppid); n == 2 {
			of[pid] = ppid
		}
	}
	return of
}

// CommandLine returns the arguments of a process joined by spaces, or "" if
// there is none of this id.
func CommandLine(pid int) string {
	out, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
