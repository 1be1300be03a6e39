package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage tells how much of the processors and of memory processes use, from
// Linux's /proc. Processes of one name are counted together.
type usage struct{ roots []root }

// A root is a process that is counted with its descendants; those of another
// program than its own go by their own names.
type root struct {
	label string
	pid   int
}

// clockTick is the unit of times in /proc (USER_HZ), which is 100 on every
// architecture of Linux.
const clockTick = 10 * time.Millisecond

// openUsage takes name=pid pairs, the gateway's first, or else finds the
// process that listens at the URL.
func openUsage(pids, rawURL string) (*usage, error) {
	u := new(usage)
	if pids == "" {
		pid, err := listener(rawURL)
		if err != nil {
			fmt.Fprintf(os.Stderr, "no use of processors and memory will be shown: %v; say -pid gateway=<pid>,…\n", err)
			return u, nil
		}
		u.roots = []root{{program(pid), pid}}
		return u, nil
	}
	for _, pair := range strings.Split(pids, ",") {
		label, p, ok := strings.Cut(pair, "=")
		pid, err := strconv.Atoi(p)
		if !ok || err != nil {
			return nil, fmt.Errorf("-pid is name=pid,…, not %q", pair)
		}
		u.roots = append(u.roots, root{label, pid})
	}
	return u, nil
}

// processes returns the label of each process that is counted.
func (u *usage) processes() map[int]string {
	children := make(map[int][]int)
	files, _ := filepath.Glob("/proc/[0-9]*")
	for _, file := range files {
		if pid, err := strconv.Atoi(filepath.Base(file)); err == nil {
			if f := stat(pid); len(f) > 1 {
				parent, _ := strconv.Atoi(f[1])
				children[parent] = append(children[parent], pid)
			}
		}
	}
	labels := map[int]string{os.Getpid(): "bench"}
	var walk func(pid int, label string)
	walk = func(pid int, label string) {
		if labels[pid] != "" {
			return
		}
		labels[pid] = label
		for _, child := range children[pid] {
			if own := program(child); own != program(pid) {
				walk(child, own)
			} else {
				walk(child, label)
			}
		}
	}
	for _, r := range u.roots {
		walk(r.pid, r.label)
	}
	return labels
}

// read returns the time that each process has been on a processor.
func (u *usage) read() map[int]time.Duration {
	all := make(map[int]time.Duration)
	for pid := range u.processes() {
		if f := stat(pid); len(f) > 12 {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			all[pid] = time.Duration(user+system) * clockTick
		}
	}
	return all
}

// since returns the time that the processes of each label were on a processor
// since read returned before. One that is new began at 0.
func (u *usage) since(before map[int]time.Duration) map[string]time.Duration {
	spent := make(map[string]time.Duration)
	labels := u.processes()
	for pid, t := range u.read() {
		spent[labels[pid]] += t - before[pid]
	}
	return spent
}

// resident returns the bytes of memory in use by the process that holds the
// connections.
func (u *usage) resident() (int64, error) {
	if len(u.roots) == 0 {
		return 0, errors.New("the process is not known")
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", u.roots[0].pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, errors.New("/proc/<pid>/statm is of another form")
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// stat returns the fields of /proc/<pid>/stat after the name, or nil.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

func program(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

// listener returns the process that listens at a URL on this machine.
func listener(rawURL string) (int, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return 0, err
	}
	if ips, err := net.LookupIP(u.Hostname()); err != nil || !slices.ContainsFunc(ips, net.IP.IsLoopback) {
		return 0, fmt.Errorf("%s is not on this machine", u.Host)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return 0, fmt.Errorf("%s names no port", rawURL)
	}
	socket := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) { // 0A: listening
				socket = "socket:[" + f[9] + "]"
			}
		}
	}
	if socket == "" {
		return 0, fmt.Errorf("nothing listens on port %d", port)
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == socket {
			return strconv.Atoi(strings.Split(fd, "/")[2])
		}
	}
	return 0, fmt.Errorf("the process on port %d cannot be seen", port)
}
