package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Setting is one environment variable. docs/operations.md lists them all; a
// test holds it to the Settings declared in the code.
type Setting struct {
	Name    string // of the variable; a secret may come from a file named by Name_FILE instead
	Default string // as it would be written in the environment
	Doc     string // what it does, with its unit
	Need    bool   // there is no default
	Secret  bool   // may also be a file of this name under /var/openfaas/secrets
}

// Settings reads settings and keeps the first errors, so that one check after
// reading them all is enough.
type Settings struct {
	env  *Env
	errs []error
}

// Settings returns a reader of the process's settings.
func (e *Env) Settings() *Settings { return &Settings{env: e} }

// Err returns what was missing or could not be read, by name.
func (s *Settings) Err() error { return errors.Join(s.errs...) }

func (s *Settings) fail(k Setting, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("setting %s: %s (%s)", k.Name, fmt.Sprintf(format, args...), k.Doc))
}

// secretsDir is where OpenFaaS mounts secrets.
const secretsDir = "/var/openfaas/secrets"

// String returns the value of k.
func (s *Settings) String(k Setting) string {
	s.env.reads(k)
	v := s.env.getenv(k.Name)
	file := s.env.getenv(k.Name + "_FILE")
	if v == "" && file == "" && k.Secret {
		mounted := filepath.Join(secretsDir, strings.ReplaceAll(strings.ToLower(k.Name), "_", "-"))
		if _, err := os.Stat(mounted); err == nil {
			file = mounted
		}
	}
	if v == "" && file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			s.fail(k, "cannot read its file: %v", err)
			return ""
		}
		v = strings.TrimSpace(string(b))
	}
	if v == "" {
		v = s.env.defaults[k.Name]
	}
	if v == "" {
		v = k.Default
	}
	if v == "" && k.Need {
		s.fail(k, "is not set")
	}
	return v
}

// Int returns the value of k as a whole number of at least min; min if it is none.
func (s *Settings) Int(k Setting, min int) int {
	v := s.String(k)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < min {
		s.fail(k, "%q is not a whole number of at least %d", v, min)
		return min
	}
	return n
}

// Float returns the value of k as a number of at least 0.
func (s *Settings) Float(k Setting) float64 {
	v := s.String(k)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n < 0 {
		s.fail(k, "%q is not a number of at least 0", v)
	}
	return n
}

// Bool returns the value of k as true or false.
func (s *Settings) Bool(k Setting) bool {
	v := s.String(k)
	if v == "" {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		s.fail(k, "%q is neither true nor false", v)
	}
	return b
}

// Duration returns the value of k, such as 30s or 5m, which must be positive.
func (s *Settings) Duration(k Setting) time.Duration {
	v := s.String(k)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		s.fail(k, "%q is not a positive duration such as 30s or 5m", v)
	}
	return d
}

// List returns the value of k cut at commas, without spaces and empty parts.
func (s *Settings) List(k Setting) []string {
	var list []string
	for _, part := range strings.Split(s.String(k), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// OneOf returns the value of k, which must be one of those given.
func (s *Settings) OneOf(k Setting, values ...string) string {
	v := s.String(k)
	for _, w := range values {
		if v == w {
			return v
		}
	}
	s.fail(k, "%q is not one of %s", v, strings.Join(values, ", "))
	return v
}
