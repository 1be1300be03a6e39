// Package freeport finds ports for servers of this machine that are told where
// to listen before they start: those of a local run, and those of tests.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
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
	reserved []net.PacketConn
)

var errNone = fmt.Errorf("no port is free between %d and %d", first, first+count-1)

// Take returns a port of 127.0.0.1 at which nothing listens, and that no other
// process has been given by Take as long as it runs. (The latter on Linux only.)
func Take() (int, error) {
	for range 200 {
		port := first + rand.IntN(count)
		if Check("127.0.0.1:"+strconv.Itoa(port)) == nil && reserve(port) == nil {
			return port, nil
		}
	}
	return 0, errNone
}

// Check returns why nothing could listen at addr (host:port) now.
func Check(addr string) error {
	// A program that is started now would have the listener, too, until its exec:
	// whoever listens there next would find the port taken.
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
	reserved = append(reserved, conn) // else it is closed when it is collected
	return nil
}
