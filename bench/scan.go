package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
)

// A stamp is written into the id of each message: which run, which sender, the
// how manieth, and when it was due.
type stamp struct {
	sender int
	n      int64
	due    time.Duration // since the run began
}

// appendID appends the client id of a message: <run>.<sender>.<n>.<µs>.
func (s stamp) appendID(b []byte, run string) []byte {
	b = append(b, run...)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(s.sender), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, s.n, 10)
	b = append(b, '.')
	return strconv.AppendInt(b, s.due.Microseconds(), 10)
}

// parseID reads what appendID wrote, and reports false for the id of another run.
func parseID(id []byte, run string) (s stamp, ok bool) {
	if len(id) <= len(run) || string(id[:len(run)]) != run || id[len(run)] != '.' {
		return stamp{}, false
	}
	rest := id[len(run)+1:]
	sender, rest, ok1 := number(rest)
	n, rest, ok2 := number(skip(rest, '.'))
	due, rest, ok3 := number(skip(rest, '.'))
	return stamp{int(sender), n, time.Duration(due) * time.Microsecond}, ok1 && ok2 && ok3 && len(rest) == 0
}

// number reads the digits that b begins with.
func number(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, b[i:], i > 0 && i < 19
}

func skip(b []byte, c byte) []byte {
	if len(b) > 0 && b[0] == c {
		return b[1:]
	}
	return nil
}

// An incoming is what the load needs to know of a frame of the server.
type incoming struct {
	kind string // of frame
	id   []byte // client id: of Accepted and Message
	seq  int64  // of Message
	rest frame.FromServer
}

var (
	acceptedPrefix = []byte(`{"type":"accepted","id":"`)
	messagePrefix  = []byte(`{"type":"message","seq":`)
	clientIDKey    = []byte(`"client_id":"`)
)

// scan reads a frame. The two kinds that come by the thousand are picked apart
// by hand, since the load shares its cores with the system that it measures.
func scan(b []byte) (in incoming, err error) {
	if rest, ok := bytes.CutPrefix(b, acceptedPrefix); ok {
		if end := bytes.IndexByte(rest, '"'); end >= 0 {
			return incoming{kind: frame.Accepted, id: rest[:end]}, nil
		}
	}
	if rest, ok := bytes.CutPrefix(b, messagePrefix); ok {
		if seq, rest, ok := number(rest); ok {
			if i := bytes.Index(rest, clientIDKey); i >= 0 {
				id := rest[i+len(clientIDKey):]
				if end := bytes.IndexByte(id, '"'); end >= 0 {
					return incoming{kind: frame.Message, seq: seq, id: id[:end]}, nil
				}
			}
		}
	}
	return scanSlowly(b)
}

func scanSlowly(b []byte) (in incoming, err error) {
	if err := json.Unmarshal(b, &in.rest); err != nil {
		return in, err
	}
	in.kind = in.rest.Type
	switch in.kind {
	case frame.Accepted, frame.Refused:
		in.id = []byte(in.rest.ID)
	case frame.Message:
		var m struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(in.rest.Message, &m); err != nil {
			return in, err
		}
		in.id, in.seq = []byte(m.ClientID), in.rest.Seq
	case "":
		return in, errors.New("a frame without a type")
	}
	return in, nil
}
