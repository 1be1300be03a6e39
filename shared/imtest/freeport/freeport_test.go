package freeport

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("TAKE_PORTS") == "" {
		os.Exit(m.Run())
	}
	// Another process: it takes every port that it can get, says which, and waits.
	var taken []string
	for port := range count {
		if reserve(first+port) == nil {
			taken = append(taken, strconv.Itoa(first+port))
		}
		if len(taken) == 300 {
			break
		}
	}
	fmt.Println(strings.Join(taken, " "))
	bufio.NewReader(os.Stdin).ReadString('\n')
}

func TestAPortIsGivenOutOnce(t *testing.T) {
	given := make(map[int]bool)
	for range 300 {
		port, err := Take()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] {
			t.Fatalf("port %d is given out twice", port)
		}
		given[port] = true
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatalf("port %d was given out and can't be listened at: %v", port, err)
		}
		ln.Close()
	}
	if runtime.GOOS != "linux" {
		return
	}
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "TAKE_PORTS=1")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	theirs := strings.Fields(line)
	if err != nil || len(theirs) != 300 {
		t.Fatalf("the other process took %d ports, and %v", len(theirs), err)
	}
	for _, s := range theirs {
		port, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		if given[port] {
			t.Errorf("port %d, which is ours, was given to another process", port)
		}
		if reserve(port) == nil || Keep(port) == nil {
			t.Errorf("port %d is another process's, and was given to us", port)
		}
	}
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	port, err := strconv.Atoi(theirs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := reserve(port); err != nil {
		t.Errorf("port %d is free again, since the process that had it has ended: %v", port, err)
	}
}
