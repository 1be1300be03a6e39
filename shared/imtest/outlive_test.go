package imtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// A killed test process has no time to clean up: what it started must notice.
func TestNothingOutlivesAKilledTest(t *testing.T) {
	const asked = "IMTEST_START_AND_WAIT"
	if os.Getenv(asked) != "" {
		Postgres(t)
		Kafka(t)
		Redis(t)
		Start(t, "redis")
		Start(t, "postgres").Freeze()
		for _, pid := range child.Tree(os.Getpid())[1:] {
			fmt.Println("started", pid)
		}
		fmt.Println("all")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingOutlivesAKilledTest$", "-test.v")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var pids []int
	s := bufio.NewScanner(out)
	for s.Scan() && s.Text() != "all" {
		if pid, ok := strings.CutPrefix(s.Text(), "started "); ok {
			n, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	if len(pids) < 8 { // services, their own processes, the guard of what is frozen
		t.Fatalf("it started only %v", pids)
	}
	cmd.Process.Kill()
	for _, pid := range pids {
		Until(t, fmt.Sprintf("process %d has ended", pid), func() bool { return child.CommandLine(pid) == "" })
	}
}
