package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/shared/im"
)

// Failed wraps err, of what was being done, and gives it its kind. A nil err
// stays nil.
func Failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf(format, args...)
	var known *im.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	kind := kindOf(err)
	e := &im.Error{Kind: kind, Msg: shown[kind], Err: err}
	if kind == im.Unavailable {
		e.Dependency = "postgresql"
	}
	return fmt.Errorf("%s: %w", doing, e)
}

// shown is what a client reads of an error that nothing more is known of.
var shown = map[im.Kind]string{
	im.Unavailable: "the database cannot do this just now; try again",
	im.Internal:    "the database could not do this",
	im.Invalid:     "the database cannot hold this",
	im.Conflict:    "this is there already",
	im.NotFound:    "there is no such thing",
}

func kindOf(err error) im.Kind {
	var pg *pgconn.PgError
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return im.NotFound
	case errors.As(err, &pg) && pg.Code == "23514" && pg.ConstraintName == "":
		// No check of ours: the row was on its way into the default partition when
		// one was made, or detached, that takes it. The next try finds that.
		return im.Unavailable
	case errors.As(err, &pg):
		return kindOfState(pg.Code)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.As(err, &connect), errors.As(err, &network), pgconn.Timeout(err), pgconn.SafeToRetry(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, net.ErrClosed):
		return im.Unavailable
	}
	return im.Internal
}

// kindOfState returns the kind of an SQLSTATE: appendix A of PostgreSQL's
// manual.
func kindOfState(code string) im.Kind {
	switch code {
	case "23505": // unique_violation
		return im.Conflict
	case "23514", // check_violation
		"54000": // program_limit_exceeded: a key too long for its index
		return im.Invalid
	case "25006", // read_only_sql_transaction: a primary that has become a standby
		"40001", // serialization_failure
		"40P01", // deadlock_detected
		"55P03", // lock_not_available
		"57014", // query_canceled, statement_timeout among them
		"57P01", // admin_shutdown
		"57P02", // crash_shutdown
		"57P03", // cannot_connect_now: starting or stopping
		"57P05": // idle_session_timeout
		return im.Unavailable
	}
	switch {
	case strings.HasPrefix(code, "08"), // connection exception
		strings.HasPrefix(code, "53"), // insufficient resources: too many connections, disk full
		strings.HasPrefix(code, "58"): // system error
		return im.Unavailable
	case strings.HasPrefix(code, "22"): // data exception: bytes that are not text, not JSON
		return im.Invalid
	}
	return im.Internal
}

// Violates reports whether err is a breach of the constraint of that name.
func Violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}

// IsState reports whether err is of an SQLSTATE.
func IsState(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
