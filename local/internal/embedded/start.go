package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// startTime is how long a service may take until it answers: PostgreSQL may
// have to read much of its log again.
const startTime = 2 * time.Minute

// started waits until the service answers. If it does not, it is closed, and
// what it said last is in the error.
func started(ctx context.Context, s *Server, log *logLines, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("%s did not answer within %s", s.Name, startTime))
	defer cancel()
	ended := errors.New("it ended at once")
	err := poll(ctx, func(ctx context.Context) error {
		select {
		case <-s.Done():
			cancel()
			return ended
		default:
			return answers(ctx)
		}
	})
	if err == nil {
		return nil
	}
	s.Close()
	return fmt.Errorf("starting %s: %w\n%s", s.Name, err, log.last())
}

// logLines writes each line that a service says to a log, and keeps the last.
type logLines struct {
	log     *slog.Logger
	service string

	mu   sync.Mutex
	part []byte // of a line that has not ended
	kept []string
}

// LogLines returns what writes each line that a service says to a log.
func LogLines(log *slog.Logger, service string) io.Writer {
	return &logLines{log: log, service: service}
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 && len(l.part) < 64<<10 {
			return len(b), nil
		}
		if i < 0 {
			i = len(l.part) - 1
		}
		line := strings.TrimSpace(string(l.part[:i]))
		l.part = l.part[i+1:]
		if line == "" {
			continue
		}
		l.kept = append(l.kept, line)
		if len(l.kept) > 20 {
			l.kept = l.kept[1:]
		}
		l.log.Info(line, "service", l.service)
	}
}

func (l *logLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(l.kept, string(l.part)), "\n")
}
