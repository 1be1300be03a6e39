// Package freeport finds ports for servers of this machine that are told where
// to listen before they start: those of a local run, and those of tests.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// The ports that are given out. They are below those that systems give to
// outgoing connections (Linux from 32768, others from 49152): one of these
// could take a port before what it is for starts, or while that is killed and
// starts again.
const first, count = 20000, 12000

var (
	mu       sync.Mutex
	reserved = make(map[int]net.PacketConn)
)

var errNone = fmt.Errorf("no port is free between %d and %d", first, first+count-1)

// Take returns a port of 127.0.0.1 at which nothing listens, and that no other
// process has been given by Take or Keep as long as it runs. (The latter on
// Linux only.)
func Take() (int, error) {
	for range 200 {
		port := first + rand.IntN(count)
		if try(port) == nil {
			return port, nil
		}
	}
	return 0, errNone
}

// Keep takes a port that was given out before, to this process or to one that
// has ended, if that can be done still.
func Keep(port int) error {
	mu.Lock()
	_, ours := reserved[port]
	mu.Unlock()
	if ours {
		return Check(address(port))
	}
	return try(port)
}

// try reserves a port and then looks whether it is free, in this order: to look
// at a port of another process would be in the way of what starts there now.
func try(port int) error {
	if err := reserve(port); err != nil {
		return err
	}
	err := Check(address(port))
	if err != nil {
		release(port)
	}
	return err
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// Check returns why nothing could listen at addr (host:port) now.
func Check(addr string) error {
	// A program that is started now would have the listener, too, until its exec:
	// whoever listens there next would find the port taken. So would the child by
	// which package os finds out, once and without the lock, what clone can do.
	os.FindProcess(os.Getpid())
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

// reserve keeps other processes from reserving port until this one ends, by a
// socket with an abstract name: the system frees it whichever way that happens.
func reserve(port int) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: fmt.Sprintf("@tidings-port-%d", port), Net: "unixgram"})
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	reserved[port] = conn // else it is closed when it is collected
	return nil
}

func release(port int) {
	mu.Lock()
	defer mu.Unlock()
	if conn, ok := reserved[port]; ok {
		conn.Close()
		delete(reserved, port)
	}
}
