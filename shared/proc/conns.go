package proc

import (
	"net"
	"net/http"
	"sync/atomic"
)

const (
	// socketBuffer is how much the system keeps of what is written to a
	// connection and not read yet, and the other way round (it takes twice as
	// much for it): left alone, it is megabytes for each who reads slowly.
	socketBuffer = 64 << 10

	// perConn is the memory for which a process holds one connection: more than
	// the largest header takes.
	perConn    = 128 << 10
	leastConns = 512
	mostConns  = 16 << 10
)

// conns bounds the connections of a server on which HTTP is spoken: those that
// were taken over for something else count no more.
type conns struct {
	most int64
	open atomic.Int64
}

// connsOf returns how many connections a server with so much memory has; 0 is
// unknown.
func connsOf(limit int64) int64 {
	if limit == 0 {
		return mostConns
	}
	return min(max(limit/perConn, leastConns), mostConns)
}

// state implements http.Server.ConnState.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		bound(conn)
		if c.open.Add(1) > c.most {
			conn.Close() // its goroutine finds that out
		}
	case http.StateHijacked, http.StateClosed:
		c.open.Add(-1)
	}
}

func bound(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(socketBuffer) // if that cannot be, the system's own are used
		tcp.SetReadBuffer(socketBuffer)
	}
}
