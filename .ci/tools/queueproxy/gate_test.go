package queueproxy

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A gate is a way to a service that can be closed: connections are refused and
// those that there are end, as if the service were down.
type gate struct {
	t        *testing.T
	addr, to string

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
}

// through returns the URL of a service by way of a gate.
func through(t *testing.T, service string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, addr: "127.0.0.1:0", to: u.Host, conns: make(map[net.Conn]bool)}
	g.open()
	g.addr = g.ln.Addr().String()
	u.Host = g.addr
	t.Cleanup(g.close)
	return g, u.String()
}

func (g *gate) open() {
	g.t.Helper()
	ln, err := net.Listen("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	g.ln = ln
	g.mu.Unlock()
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", g.to)
			if err != nil {
				in.Close()
				continue
			}
			g.mu.Lock()
			closed := g.ln != ln
			g.conns[in], g.conns[out] = true, true
			g.mu.Unlock()
			if closed {
				in.Close()
				out.Close()
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
}

func pipe(from, to net.Conn) {
	io.Copy(to, from)
	to.Close()
	from.Close()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln != nil {
		g.ln.Close()
		g.ln = nil
	}
	for c := range g.conns {
		c.Close()
	}
	clear(g.conns)
}
