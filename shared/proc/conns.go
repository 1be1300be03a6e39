package proc

import (
	"net"
	"net/http"
	"sync"
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
	most   int64
	places func(net.Addr) []string // nil if it does not matter where they come from

	mu   sync.Mutex
	open int64
	at   map[string]int64 // of those that are open, by place
}

func newConns(most int64, places func(net.Addr) []string) *conns {
	return &conns{most: most, places: places, at: make(map[string]int64)}
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
		if !c.enter(conn) {
			conn.Close() // its goroutine finds that out
		}
	case http.StateHijacked, http.StateClosed:
		c.leave(conn)
	}
}

// enter counts a connection, and reports whether there is room for it: from one
// place for a quarter of all, from those that it is within for half.
func (c *conns) enter(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	room := c.open <= c.most
	for i, p := range c.placesOf(conn) {
		c.at[p]++
		room = room && c.at[p] <= c.most/4*int64(min(i+1, 2))
	}
	return room
}

func (c *conns) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	for _, p := range c.placesOf(conn) {
		if c.at[p]--; c.at[p] == 0 {
			delete(c.at, p)
		}
	}
}

func (c *conns) placesOf(conn net.Conn) []string {
	if c.places == nil {
		return nil
	}
	return c.places(conn.RemoteAddr())
}

func bound(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(socketBuffer) // if that cannot be, the system's own are used
		tcp.SetReadBuffer(socketBuffer)
	}
}
