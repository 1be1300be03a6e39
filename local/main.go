// Local runs Tidings on one machine that has Go and nothing else.
//
// This program only compiles and runs the one that does it, in local/tidings,
// and says meanwhile what goes on: compiling for the first time takes minutes.
// For the same reason it imports next to nothing. What it says first cannot
// come before Go has compiled it, and Go's runtime with it.
//
// There are two of the other: a small one, which is enough to chat, and one
// that has everything. The small one has the other started by this program.
package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	pkg = "github.com/tidings-im/tidings/local/tidings"

	// launcher is the setting by which the other program finds this one.
	launcher = "TIDINGS_LAUNCHER"
)

// packages is about how many are compiled the first time. .ci/fresh holds it
// to what it is.
const packages = 620

func main() {
	if err := run(os.Args[1:]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// run compiles the program that args are for, and becomes it.
func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return wrap("finding this program", err)
	}
	name, flags := "tidings", []string{"-v", "-buildvcs=false"}
	later := len(args) > 0 && args[0] == "apart"
	if later || needsAll(args) {
		name += "-all"
	} else {
		flags = append(flags, "-tags="+small)
	}
	dir, err := home()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, name)
	unlock, err := lock(bin + ".lock")
	if err != nil {
		return err
	}
	p := &progress{to: os.Stderr, tty: isTerminal(os.Stderr), began: time.Now()}
	if _, err := os.Stat(bin); err != nil && !later {
		p.say("Tidings is being compiled, which takes minutes the first time (four on two slow cores) and a second from then on.")
	}
	if err := build(append(flags, "-o", bin, pkg), later, p); err != nil {
		return err
	}
	if err := unlock(); err != nil {
		return wrap("unlocking what is compiled", err)
	}
	return syscall.Exec(bin, append([]string{os.Args[0]}, args...), append(os.Environ(), launcher+"="+self))
}

// small leaves out of the program what only some settings or commands ask for,
// and what takes long to compile: see the files with this tag.
const small = "tidings_small"

// needsAll reports whether something asks for what small leaves out.
func needsAll(args []string) bool {
	if len(args) > 0 && args[0] == "s3" {
		return true
	}
	for _, name := range []string{"MONGODB_URL", "MONGODB_URL_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return os.Getenv("INBOX_STORE") == "mongodb"
}

// home returns the folder where the programs of this checkout are kept, in the
// user's cache. It is made if it is not there.
func home() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", wrap("finding the folder for what is compiled", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return "", wrap("finding the folder that this is", err)
	}
	sum := uint64(14695981039346656037) // FNV-1a
	for i := range len(here) {
		sum = (sum ^ uint64(here[i])) * 1099511628211
	}
	dir := filepath.Join(cache, "tidings", "local-"+strconv.FormatUint(sum, 36))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", wrap("making the folder for what is compiled", err)
	}
	return dir, nil
}

// lock keeps other starts of this checkout from compiling at the same time.
func lock(file string) (unlock func() error, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, wrap("locking what is compiled", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, wrap("locking what is compiled", err)
	}
	return f.Close, nil
}

// build runs go build. What is compiled already is not compiled again, be it by
// another program or for another checkout. Later leaves the machine to others.
func build(args []string, later bool, p *progress) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	said, err := cmd.StderrPipe()
	if err != nil {
		return wrap("compiling", err)
	}
	if err := cmd.Start(); err != nil {
		return wrap("compiling (is go on the PATH?)", err)
	}
	if later {
		syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 10) // it does no harm if that fails
	}
	p.follow(said)
	if err := cmd.Wait(); err != nil {
		return wrap("compiling "+pkg, err)
	}
	return nil
}

// A progress shows how far compiling has come: on a terminal in one line that
// is written over, elsewhere in a line now and then.
type progress struct {
	to    *os.File
	tty   bool
	began time.Time

	compiled int
	shown    time.Time
	open     bool // a line is to be written over
}

// follow reads what go build -v says until it ends: the path of each package
// that it compiles, and whatever else. Else is passed on.
func (p *progress) follow(said io.Reader) {
	var line []byte
	buf := make([]byte, 4096)
	for {
		n, err := said.Read(buf)
		for _, c := range buf[:n] {
			if line = append(line, c); c == '\n' {
				p.line(string(line[:len(line)-1]))
				line = line[:0]
			}
		}
		if err != nil {
			break
		}
	}
	if len(line) > 0 {
		p.line(string(line))
	}
	if p.compiled > 0 {
		p.status("compiled "+strconv.Itoa(p.compiled)+" packages in "+p.seconds(), true)
	}
	p.end()
}

func (p *progress) line(s string) {
	if !isPackage(s) {
		p.say(s)
		return
	}
	p.compiled++
	p.status("compiling, "+p.seconds()+": "+strconv.Itoa(p.compiled)+" packages of at most "+strconv.Itoa(max(packages, p.compiled))+", now "+s, p.tty)
}

// isPackage reports whether a line of go build -v is the path of a package.
func isPackage(s string) bool {
	for i := range len(s) {
		if s[i] == ' ' || s[i] == ':' || s[i] == '\t' {
			return false
		}
	}
	return s != ""
}

func (p *progress) seconds() string {
	return strconv.Itoa(int(time.Since(p.began).Seconds())) + " s"
}

// status shows a line in the place of the one before. Unless now is set, that
// is done every ten seconds.
func (p *progress) status(s string, now bool) {
	if !now && time.Since(p.shown) < 10*time.Second {
		return
	}
	p.shown = time.Now()
	if !p.tty {
		p.to.WriteString(s + "\n")
		return
	}
	const width = 79 // of terminals that are narrow, so that no line wraps
	p.to.WriteString("\r\x1b[K" + s[:min(len(s), width)])
	p.open = true
}

// say shows a line that stays.
func (p *progress) say(s string) {
	p.end()
	p.to.WriteString(s + "\n")
}

func (p *progress) end() {
	if p.open {
		p.to.WriteString("\n")
		p.open = false
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// An explained error says what was done when it came. fmt would have to be
// compiled first.
type explained struct {
	doing string
	err   error
}

func wrap(doing string, err error) error { return &explained{doing, err} }

func (e *explained) Error() string { return e.doing + ": " + e.err.Error() }
func (e *explained) Unwrap() error { return e.err }
