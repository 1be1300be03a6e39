package chat

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/tidings-im/tidings/shared/im"
)

// A screen is where lines are typed and shown. It is safe for concurrent use.
type screen interface {
	read() (string, error) // io.EOF at the end
	secret(prompt string) (string, error)
	prompt(string)
	print(string)
	close()
}

// openScreen returns a screen, and whether there is a person before it.
func openScreen(in, out *os.File) (screen, bool) {
	if term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) {
		if t, err := openTerminal(in, out); err == nil {
			return t, true
		}
	}
	r := bufio.NewScanner(in)
	r.Buffer(nil, 2*im.MaxText)
	return &pipe{in: r, out: out}, false
}

// A pipe is a screen that is none: lines come in and go out.
type pipe struct {
	in  *bufio.Scanner
	mu  sync.Mutex
	out io.Writer
}

func (p *pipe) read() (string, error) {
	if p.in.Scan() {
		return p.in.Text(), nil
	}
	if err := p.in.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

func (p *pipe) secret(string) (string, error) { return p.read() }

func (p *pipe) prompt(string) {}

func (p *pipe) print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, line)
}

func (p *pipe) close() {}

// A terminal keeps the line that is being typed below what is shown.
type terminal struct {
	*term.Terminal
	restore func()
}

func openTerminal(in, out *os.File) (*terminal, error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	t := &terminal{Terminal: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "> ")}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	go func() {
		for range resized {
			t.fit(out)
		}
	}()
	t.fit(out)
	t.restore = sync.OnceFunc(func() {
		signal.Stop(resized)
		close(resized)
		term.Restore(int(in.Fd()), old)
		fmt.Fprintln(out)
	})
	return t, nil
}

func (t *terminal) fit(out *os.File) {
	if width, height, err := term.GetSize(int(out.Fd())); err == nil && width > 0 {
		t.SetSize(width, height)
	}
}

func (t *terminal) read() (string, error) { return t.ReadLine() }

func (t *terminal) secret(prompt string) (string, error) { return t.ReadPassword(prompt) }

func (t *terminal) prompt(s string) { t.SetPrompt(s) }

func (t *terminal) print(line string) {
	fmt.Fprintln(t.Terminal, line)
}

func (t *terminal) close() { t.restore() }
