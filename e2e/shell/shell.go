// Package shell runs a script of bash where there is neither bash nor what the
// script calls: by an interpreter, with the programs of the manual's sessions
// written in Go. They do what GNU's, curl's and OpenSSL's do with the options
// that those sessions use, and know no others: whatever else is asked of them
// fails the script, so that nothing passes here that would not in a shell. It
// does not know what the sessions are about.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// Run runs a script in a folder, as `bash -euo pipefail -c` does with an empty
// environment. The error is the status that it ended with, or says what of it
// cannot be run here.
func Run(ctx context.Context, script, dir string, out, errs io.Writer) error {
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return fmt.Errorf("reading the script: %w", err)
	}
	var u unknown
	r, err := interp.New(
		interp.Params("-e", "-u", "-o", "pipefail"),
		interp.Env(expand.ListEnviron()), // no PATH: what is not here is not found elsewhere
		interp.Dir(dir),
		interp.StdIO(strings.NewReader(""), out, errs),
		interp.ExecHandlers(u.exec),
	)
	if err != nil {
		return fmt.Errorf("making a shell: %w", err)
	}
	return errors.Join(r.Run(ctx, parsed), u.err())
}

// unknown collects what cannot be run, wherever in the script that was: a
// script may well go on after it.
type unknown struct {
	mu   sync.Mutex
	said []error
}

func (u *unknown) err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return errors.Join(u.said...)
}

func (u *unknown) exec(interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, args []string) error {
		err := run(ctx, interp.HandlerCtx(ctx), args)
		if _, ended := errors.AsType[interp.ExitStatus](err); err == nil || ended {
			return err
		}
		err = fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.said = append(u.said, err)
		return err
	}
}

func run(ctx context.Context, h interp.HandlerContext, args []string) error {
	f, ok := programs[args[0]]
	if !ok {
		return errors.New("there is no such program: write it in e2e/shell")
	}
	err := f(ctx, &call{args: args[1:], dir: h.Dir, in: h.Stdin, out: h.Stdout})
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return interp.ExitStatus(128 + uint8(syscall.SIGPIPE)) // what reads has ended, as head does
	}
	return err
}

// A call is a program that is run.
type call struct {
	args []string
	dir  string
	in   io.Reader
	out  io.Writer
}

// status ends a program as unsuccessful.
func status(n uint8) error { return interp.ExitStatus(n) }

// options reads the arguments of a program: flags are options with no value,
// valued are those with one, which stands by itself or, if the option is of one
// letter, at once after it. A value is appended to those before. It returns the
// operands.
func (c *call) options(flags, valued string) (set map[string][]string, operands []string, err error) {
	set = make(map[string][]string)
	is := func(list, opt string) bool { return strings.Contains(" "+list+" ", " "+opt+" ") }
	for i := 0; i < len(c.args); i++ {
		arg := c.args[i]
		switch {
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			operands = append(operands, arg)
		case is(flags, arg):
			set[arg] = append(set[arg], "")
		case is(valued, arg) && i+1 < len(c.args):
			i++
			set[arg] = append(set[arg], c.args[i])
		case len(arg) > 2 && is(valued, arg[:2]):
			set[arg[:2]] = append(set[arg[:2]], arg[2:])
		default:
			return nil, nil, fmt.Errorf("the option %s is not known here: write it in e2e/shell", arg)
		}
	}
	return set, operands, nil
}

// want returns an error unless there are n operands.
func want(operands []string, n int) error {
	if len(operands) != n {
		return fmt.Errorf("%d operands, and what is in e2e/shell takes %d", len(operands), n)
	}
	return nil
}
