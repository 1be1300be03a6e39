package shell

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// basic translates a basic regular expression of POSIX (IEEE Std 1003.1, 9.3),
// without groups, references and classes of characters. What matches is the
// longest at the leftmost place.
func basic(pattern string) (*regexp.Regexp, error) {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case strings.HasPrefix(rest, `\{`):
			end := strings.Index(rest, `\}`)
			if end < 0 || !bounds.MatchString(rest[2:end]) {
				return nil, fmt.Errorf("%s: the bounds cannot be read", pattern)
			}
			out.WriteString("{" + rest[2:end] + "}")
			i += end + 1
		case rest[0] == '\\':
			if len(rest) < 2 || !strings.Contains(`\.*[]^$/&"`, rest[1:2]) {
				return nil, fmt.Errorf("%s: an escape that is not known here", pattern)
			}
			out.WriteString(regexp.QuoteMeta(rest[1:2]))
			i++
		case rest[0] == '[':
			set, n, err := bracket(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", pattern, err)
			}
			out.WriteString(set)
			i += n - 1
		case rest[0] == '.', rest[0] == '*' && i > 0, rest[0] == '^' && i == 0, rest == "$":
			out.WriteByte(rest[0])
		default:
			out.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	re, err := regexp.Compile(out.String())
	if err != nil {
		return nil, err
	}
	re.Longest()
	return re, nil
}

var bounds = regexp.MustCompile(`^[0-9]+(,[0-9]*)?$`)

// bracket translates the set of characters that an expression begins with, in
// which a backslash is one of them, and returns its length.
func bracket(rest string) (set string, length int, err error) {
	from := 1
	if strings.HasPrefix(rest[from:], "^") {
		from++
	}
	if strings.HasPrefix(rest[from:], "]") {
		return "", 0, errors.New("a set with ] is not known here")
	}
	end := strings.IndexByte(rest[from:], ']')
	if end <= 0 || strings.ContainsRune(rest[from:from+end], '[') {
		return "", 0, errors.New("a set that is not known here")
	}
	end += from
	return rest[:from] + strings.NewReplacer(`\`, `\\`, `^`, `\^`).Replace(rest[from:end]) + "]", end + 1, nil
}

// substitution reads sed's command s/…/…/ or s/…/…/g.
func substitution(command string) (func(string) string, error) {
	parts := splitUnescaped(command)
	if len(parts) != 4 || parts[0] != "s" || parts[3] != "" && parts[3] != "g" {
		return nil, fmt.Errorf("%s is a command that is not known here", command)
	}
	re, err := basic(parts[1])
	if err != nil {
		return nil, err
	}
	with, err := replacement(parts[2])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	most := 1
	if parts[3] == "g" {
		most = -1
	}
	return func(line string) string {
		var out strings.Builder
		at := 0
		for _, m := range re.FindAllStringIndex(line, most) {
			out.WriteString(line[at:m[0]] + with(line[m[0]:m[1]]))
			at = m[1]
		}
		return out.String() + line[at:]
	}, nil
}

// splitUnescaped divides a command at its slashes.
func splitUnescaped(command string) (parts []string) {
	from := 0
	for i := 0; i < len(command); i++ {
		switch command[i] {
		case '\\':
			i++
		case '/':
			parts = append(parts, command[from:i])
			from = i + 1
		}
	}
	return append(parts, command[from:])
}

// replacement reads what sed puts in the place of a match: & is the match,
// escaped it is itself, as a backslash and a slash are.
func replacement(with string) (func(match string) string, error) {
	for i := 0; i < len(with); i++ {
		if with[i] != '\\' {
			continue
		}
		if i++; i == len(with) || !strings.Contains(`\&/`, with[i:i+1]) {
			return nil, errors.New("an escape that is not known here")
		}
	}
	return func(match string) string {
		var out strings.Builder
		for i := 0; i < len(with); i++ {
			switch with[i] {
			case '\\':
				i++
				out.WriteByte(with[i])
			case '&':
				out.WriteString(match)
			default:
				out.WriteByte(with[i])
			}
		}
		return out.String()
	}, nil
}
