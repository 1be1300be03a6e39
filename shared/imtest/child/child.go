// Package child runs other programs as children that end when their parent
// does, however it ends. It does not know what they are.
package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is a running child, in a process group of its own, so that the
// Ctrl-C meant for the parent does not reach it. It is safe for concurrent use.
type Process struct {
	Pid int

	done chan struct{}
	err  error // how it ended; set when done is closed
	said *tail
}

// Start starts cmd. On Linux the child gets the signal death when this process
// ends; elsewhere it must notice by itself, by the end of its stdin for instance.
// What it writes to stderr goes to cmd.Stderr, unless that is nil.
func Start(cmd *exec.Cmd, death syscall.Signal) (*Process, error) {
	p := &Process{done: make(chan struct{}), said: &tail{also: cmd.Stderr}}
	cmd.Stderr = p.said
	cmd.WaitDelay = 2 * time.Second // its own children may hold stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	setDeathSignal(cmd.SysProcAttr, death)
	started := make(chan error)
	go func() {
		// Linux sends the signal when the thread that started the child ends,
		// so that thread is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.Pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Serve starts cmd as Start does, and waits for the line "ready <url>" on its
// stdout, until ctx is done. The error holds what it wrote to stderr.
func Serve(ctx context.Context, cmd *exec.Cmd, death syscall.Signal) (p *Process, url string, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	p, err = Start(cmd, death)
	if err != nil {
		return nil, "", err
	}
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready "); ok {
				ready <- url
				io.Copy(io.Discard, r) // so that it never blocks on writing
				return
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case url, ok := <-ready:
		if ok {
			return p, url, nil
		}
		err = errors.New("it ended before it was ready")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.Stop(syscall.SIGTERM, 5*time.Second)
	return nil, "", fmt.Errorf("starting %s: %w\n%s", strings.Join(cmd.Args, " "), err, p.Said())
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the child ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// Said returns the last of what the child wrote to stderr.
func (p *Process) Said() string { return p.said.String() }

// Signal sends sig to the child, unless it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
		return syscall.Kill(p.Pid, sig)
	}
}

// Stop sends sig, waits, and kills the child and its descendants if it has not
// ended within grace. It reports whether it had to.
func (p *Process) Stop(sig syscall.Signal, grace time.Duration) (killed bool) {
	p.Signal(sig)
	select {
	case <-p.done:
		return false
	case <-time.After(grace):
	}
	p.Kill()
	return true
}

// Kill kills the child and all its descendants and waits until they are gone.
func (p *Process) Kill() {
	adopt()
	for _, pid := range p.SignalTree(syscall.SIGKILL) {
		if pid != p.Pid {
			awaitEnd(pid)
		}
	}
	<-p.done
}

// SignalTree sends sig to the child and all its descendants and returns whom
// it was sent to.
func (p *Process) SignalTree(sig syscall.Signal) []int {
	select {
	case <-p.done:
		return nil
	default:
	}
	if sig != syscall.SIGKILL && sig != syscall.SIGSTOP {
		pids := Tree(p.Pid)
		for _, pid := range pids {
			syscall.Kill(pid, sig)
		}
		return pids
	}
	// Whoever is stopped starts no more children, so this comes to an end. Only
	// then are they killed: the death of a parent would hide its children.
	var pids []int
	seen := make(map[int]bool)
	for more := true; more; {
		more = false
		for _, pid := range Tree(p.Pid) {
			if !seen[pid] {
				seen[pid], more = true, true
				pids = append(pids, pid)
				syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
	}
	if sig == syscall.SIGKILL {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return pids
}

// tail keeps the last of what is written.
type tail struct {
	also io.Writer

	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - 4<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	if t.also != nil {
		t.also.Write(b) // its failure must not stop the child
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
