package shell

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// programs are what a script can call.
var programs = map[string]func(context.Context, *call) error{
	"base32": decode, "cmp": compare, "curl": curl, "cut": cut, "date": date, "grep": grep, "head": head,
	"od": dump, "openssl": digest, "sed": sed, "sleep": sleep, "tr": remove, "wc": count,
}

// lines returns what is read line by line, without the newlines.
func (c *call) lines() ([]string, error) {
	b, err := io.ReadAll(c.in)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), nil
}

// print writes all at once, as a program does that writes into a pipe.
func (c *call) print(s string) error {
	_, err := io.WriteString(c.out, s)
	return err
}

// open returns a file that is named as the folder of the script has it, or what
// is read if it is "-".
func (c *call) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.in), nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(c.dir, name)
	}
	return os.Open(name)
}

// decode is base32 -d. Newlines are not heeded.
func decode(_ context.Context, c *call) error {
	set, operands, err := c.options("-d", "")
	if err = errors.Join(err, want(operands, 0)); err != nil {
		return err
	}
	if set["-d"] == nil {
		return errors.New("it only decodes here")
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	plain, bad := base32.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
	if err := c.print(string(plain)); err != nil {
		return err
	}
	if bad != nil {
		return status(1)
	}
	return nil
}

// compare is cmp of two files.
func compare(_ context.Context, c *call) error {
	_, operands, err := c.options("", "")
	if err = errors.Join(err, want(operands, 2)); err != nil {
		return err
	}
	var content [2][]byte
	for i, name := range operands {
		f, err := c.open(name)
		if err != nil {
			return status(2)
		}
		content[i], err = io.ReadAll(f)
		f.Close()
		if err != nil {
			return status(2)
		}
	}
	a, b := content[0], content[1]
	if bytes.Equal(a, b) {
		return nil
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			line := 1 + bytes.Count(a[:i], []byte("\n"))
			return errors.Join(c.print(fmt.Sprintf("%s %s differ: byte %d, line %d\n", operands[0], operands[1], i+1, line)), status(1))
		}
	}
	return status(1) // one ends earlier, which is said among the errors
}

// cut is cut -d <byte> -f <n> and cut -c <from>-<to>, whose characters are bytes.
func cut(_ context.Context, c *call) error {
	set, operands, err := c.options("", "-d -f -c")
	if err = errors.Join(err, want(operands, 0)); err != nil {
		return err
	}
	var of func(string) string
	switch {
	case len(set["-d"]) == 1 && len(set["-d"][0]) == 1 && len(set["-f"]) == 1 && set["-c"] == nil:
		n, err := strconv.Atoi(set["-f"][0])
		if err != nil || n < 1 {
			return fmt.Errorf("the field %s is no number", set["-f"][0])
		}
		of = func(line string) string { return field(line, set["-d"][0], n) }
	case len(set["-c"]) == 1 && set["-d"] == nil && set["-f"] == nil:
		var from, to int
		if n, err := fmt.Sscanf(set["-c"][0]+"\n", "%d-%d\n", &from, &to); n != 2 || err != nil || from < 1 || to < from {
			return fmt.Errorf("the range %s is not known here", set["-c"][0])
		}
		of = func(line string) string { return line[min(from-1, len(line)):min(to, len(line))] }
	default:
		return errors.New("it takes -d and -f, or -c")
	}
	all, err := c.lines()
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, line := range all {
		out.WriteString(of(line) + "\n")
	}
	return c.print(out.String())
}

// field returns a field of a line, or the line if nothing divides it.
func field(line, by string, n int) string {
	parts := strings.Split(line, by)
	switch {
	case len(parts) == 1:
		return line
	case n > len(parts):
		return ""
	}
	return parts[n-1]
}

// date is date +%s.
func date(_ context.Context, c *call) error {
	if len(c.args) != 1 || c.args[0] != "+%s" {
		return errors.New("it takes +%s and nothing else here")
	}
	return c.print(fmt.Sprintln(time.Now().Unix()))
}

// grep is grep with a basic regular expression; -o prints what matches alone.
func grep(_ context.Context, c *call) error {
	set, operands, err := c.options("-o", "")
	if err = errors.Join(err, want(operands, 1)); err != nil {
		return err
	}
	re, err := basic(operands[0])
	if err != nil {
		return err
	}
	all, err := c.lines()
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, line := range all {
		switch {
		case set["-o"] == nil && re.MatchString(line):
			out.WriteString(line + "\n")
		case set["-o"] != nil:
			for _, found := range re.FindAllString(line, -1) {
				if found != "" {
					out.WriteString(found + "\n")
				}
			}
		}
	}
	if out.Len() == 0 {
		return status(1)
	}
	return c.print(out.String())
}

// head is head -n <n>.
func head(_ context.Context, c *call) error {
	set, operands, err := c.options("", "-n")
	if err = errors.Join(err, want(operands, 0)); err != nil {
		return err
	}
	if len(set["-n"]) != 1 {
		return errors.New("it takes -n once")
	}
	n, err := strconv.Atoi(set["-n"][0])
	if err != nil || n < 0 {
		return fmt.Errorf("%s is no number of lines", set["-n"][0])
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	all := strings.SplitAfter(string(b), "\n")
	return c.print(strings.Join(all[:min(n, len(all))], ""))
}

// dump is od -An -v -tx1.
func dump(_ context.Context, c *call) error {
	if strings.Join(c.args, " ") != "-An -v -tx1" {
		return errors.New("it takes -An -v -tx1 and nothing else here")
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	var out strings.Builder
	for ; len(b) > 0; b = b[min(16, len(b)):] {
		fmt.Fprintf(&out, " % x\n", b[:min(16, len(b))])
	}
	return c.print(out.String())
}

// digest is openssl dgst -r, of a file or of what is read, with a key or without.
func digest(_ context.Context, c *call) error {
	set, operands, err := c.options("-r -sha1 -sha256", "-mac -macopt")
	if err != nil {
		return err
	}
	hashes := map[string]func() hash.Hash{"-sha1": sha1.New, "-sha256": sha256.New}
	var sum hash.Hash
	for name, h := range hashes {
		switch {
		case set[name] == nil:
		case sum != nil:
			return errors.New("it takes one digest")
		case set["-mac"] == nil && set["-macopt"] == nil:
			sum = h()
		default:
			hexkey, ok := strings.CutPrefix(strings.Join(set["-macopt"], " "), "hexkey:")
			key, err := hex.DecodeString(hexkey)
			if !ok || err != nil || strings.Join(set["-mac"], " ") != "HMAC" {
				return errors.New("of MACs it knows HMAC with a hexkey")
			}
			sum = hmac.New(h, key)
		}
	}
	if sum == nil || set["-r"] == nil || len(operands) == 0 || operands[0] != "dgst" || len(operands) > 2 {
		return errors.New("it takes dgst, -r, a digest and one file at most")
	}
	in, name := io.NopCloser(c.in), "stdin"
	if len(operands) == 2 {
		name = operands[1]
		if in, err = c.open(name); err != nil {
			return status(1)
		}
	}
	defer in.Close()
	if _, err := io.Copy(sum, in); err != nil {
		return err
	}
	return c.print(fmt.Sprintf("%x *%s\n", sum.Sum(nil), name))
}

// sed is sed with one command: s/…/…/, s/…/…/g, or -n and <n>p.
func sed(_ context.Context, c *call) error {
	set, operands, err := c.options("-n", "")
	if err = errors.Join(err, want(operands, 1)); err != nil {
		return err
	}
	edit, err := command(operands[0], set["-n"] != nil)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	var out strings.Builder
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		text, newline := strings.CutSuffix(line, "\n")
		if text, ok := edit(n, text); ok {
			out.WriteString(text)
			if newline {
				out.WriteByte('\n')
			}
		}
	}
	return c.print(out.String())
}

var printOne = regexp.MustCompile(`^[1-9][0-9]*p$`)

// command returns what a command of sed makes of a line, whose number is from 1,
// and whether it is printed.
func command(text string, quiet bool) (func(n int, line string) (string, bool), error) {
	if quiet {
		if !printOne.MatchString(text) {
			return nil, fmt.Errorf("with -n it takes a line to print, and not %s", text)
		}
		return func(n int, line string) (string, bool) { return line, fmt.Sprint(n, "p") == text }, nil
	}
	edit, err := substitution(text)
	return func(_ int, line string) (string, bool) { return edit(line), true }, err
}

// sleep is sleep <seconds>.
func sleep(ctx context.Context, c *call) error {
	if len(c.args) != 1 {
		return errors.New("it takes seconds")
	}
	seconds, err := strconv.ParseFloat(c.args[0], 64)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return nil
	}
}

// remove is tr -d of characters that are named one by one.
func remove(_ context.Context, c *call) error {
	if len(c.args) != 2 || c.args[0] != "-d" {
		return errors.New("it takes -d and characters")
	}
	set := strings.ReplaceAll(c.args[1], `\n`, "\n")
	if strings.ContainsAny(set, `\-[`) {
		return errors.New("of escapes it knows \\n, and no ranges or classes")
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	return c.print(string(slices.DeleteFunc(b, func(b byte) bool { return strings.IndexByte(set, b) >= 0 })))
}

// count is wc -c.
func count(_ context.Context, c *call) error {
	if len(c.args) != 1 || c.args[0] != "-c" {
		return errors.New("it takes -c and nothing else here")
	}
	n, err := io.Copy(io.Discard, c.in)
	if err != nil {
		return err
	}
	return c.print(fmt.Sprintln(n))
}
