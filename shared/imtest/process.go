package imtest

import (
	"io"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// A Process is a program under test, to be killed, frozen and started again.
// It ends with the test, at the latest. It is safe for concurrent use.
type Process struct {
	t     testing.TB
	name  string
	start func() (*child.Process, error)

	mu     sync.Mutex
	proc   *child.Process // nil while it does not run
	frozen []int
	guard  io.Closer // kills what is frozen if this process ends
}

// Run starts a program. env is its whole environment, as in exec.Cmd. It is
// not waited for: poll what it serves.
func Run(t testing.TB, env []string, path string, args ...string) *Process {
	t.Helper()
	return run(t, path, func() (*child.Process, error) {
		cmd := exec.Command(path, args...)
		cmd.Env = env
		return child.Start(cmd, syscall.SIGKILL)
	})
}

func run(t testing.TB, name string, start func() (*child.Process, error)) *Process {
	t.Helper()
	p := &Process{t: t, name: name, start: start}
	var err error
	if p.proc, err = start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.logSaid()
		}
		p.Kill()
	})
	return p
}

func (p *Process) logSaid() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil {
		p.t.Logf("%s said last:\n%s", p.name, p.proc.Said())
	}
}

// Pid returns the id of the process, or 0 while it does not run.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return 0
	}
	return p.proc.Pid
}

// Kill ends the process and all its descendants by SIGKILL, and waits.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return
	}
	p.proc.Kill()
	p.proc = nil
	p.release()
}

// Stop asks the process to end by SIGTERM, and waits. One that has not ended
// after a minute fails the test and is killed.
func (p *Process) Stop() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return
	}
	p.thaw()
	if p.proc.Stop(syscall.SIGTERM, time.Minute) {
		p.t.Errorf("%s did not end within a minute of SIGTERM; it said last:\n%s", p.name, p.proc.Said())
	}
	p.proc = nil
}

// Freeze stops the process and all its descendants by SIGSTOP: their
// connections stay open and nothing answers.
func (p *Process) Freeze() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil || p.frozen != nil {
		return
	}
	p.frozen = p.proc.SignalTree(syscall.SIGSTOP)
	// What is stopped does not notice that its parent is gone.
	cmd := exec.Command("/bin/sh", "-c", `read -r _ || kill -KILL "$@"`, "sh")
	for _, pid := range p.frozen {
		cmd.Args = append(cmd.Args, strconv.Itoa(pid))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.thaw()
		p.t.Fatalf("guarding the frozen %s: %v", p.name, err)
	}
	p.guard = &guard{in, cmd}
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw()
}

func (p *Process) thaw() {
	for _, pid := range p.frozen {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	p.release()
}

func (p *Process) release() {
	p.frozen = nil
	if p.guard != nil {
		p.guard.Close()
		p.guard = nil
	}
}

// Restart starts the process again, after killing it if it still runs. A
// service has its old address and data.
func (p *Process) Restart() {
	p.t.Helper()
	p.Kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.proc, err = p.start(); err != nil {
		p.t.Fatal(err)
	}
}

type guard struct {
	in  io.WriteCloser
	cmd *exec.Cmd
}

func (g *guard) Close() error {
	io.WriteString(g.in, "\n")
	g.in.Close()
	return g.cmd.Wait()
}
