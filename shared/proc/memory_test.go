package proc

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestTheLimitOfMemoryIsThatOfTheControlGroup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		self  string            // /proc/self/cgroup
		files map[string]string // under root
		want  int64
	}{
		{"of version 2", "0::/\n", map[string]string{"memory.max": "268435456\n"}, 256 << 20},
		{"none, of version 2", "0::/\n", map[string]string{"memory.max": "max\n"}, 0},
		{"of version 1", "", map[string]string{"memory/memory.limit_in_bytes": "134217728\n"}, 128 << 20},
		{"none, of version 1", "", map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"none that is known", "", map[string]string{"other": ""}, 0},
		{"of a group of version 2 among others", "0::/a/b\n", map[string]string{"a/b/memory.max": "1048576"}, 1 << 20},
		{"of a group of version 1 among others", "5:cpu:/x\n4:memory:/a/b\n0::/\n", map[string]string{
			"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/a/b/memory.limit_in_bytes": "1048576",
		}, 1 << 20},
		{"of a group whose path is the host's", "4:memory:/docker/x\n", map[string]string{"memory/memory.limit_in_bytes": "1048576"}, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "self"), tt.self)
			for name, text := range tt.files {
				write(t, filepath.Join(root, name), text)
			}
			if got := memoryLimit(root, filepath.Join(root, "self")); got != tt.want {
				t.Errorf("memoryLimit = %d, want %d", got, tt.want)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestP7TheGarbageCollectorKeepsToTheLimit(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	for _, tt := range []struct {
		name  string
		vars  map[string]string
		group int64
		want  int64
	}{
		{"of the control group", nil, 200 << 20, 180 << 20},
		{"of the setting, whatever the group has", map[string]string{"MEMORY_LIMIT": "104857600"}, 200 << 20, 90 << 20},
		{"unless it is told one", map[string]string{"GOMEMLIMIT": "1GiB"}, 200 << 20, was},
		{"none", nil, 0, was},
	} {
		t.Run(tt.name, func(t *testing.T) {
			debug.SetMemoryLimit(was)
			e := NewEnv(func(name string) string { return tt.vars[name] }, slog.New(slog.DiscardHandler))
			e.group = tt.group
			if err := e.keepMemory(); err != nil {
				t.Fatal(err)
			}
			if got := debug.SetMemoryLimit(-1); got/1000 != tt.want/1000 {
				t.Errorf("the limit is %d, want %d", got, tt.want)
			}
		})
	}
	e := NewEnv(func(string) string { return "128Mi" }, slog.New(slog.DiscardHandler))
	if e.keepMemory() == nil {
		t.Error("a limit that is no number was taken")
	}
}

// What is lent and what a process needs anyway are less than the least limit
// there is, and there is something to lend.
func TestP7WhatIsLentFitsInTheLimit(t *testing.T) {
	for _, mib := range []int64{64, 128, 192, 256, 512, 768, 2048} {
		limit := mib << 20
		bodies, work, spare := sharesOf(limit)
		if bodies < 4<<20 || work < 7<<20 || mib >= 128 && bodies+work+spare+baseMemory > heapOf(limit) {
			t.Errorf("of %d MiB, %d MiB are lent to bodies and %d to work", mib, bodies>>20, work>>20)
		}
	}
	if bodies, work, _ := sharesOf(0); bodies != mostBodies || work != mostWork {
		t.Errorf("without a limit, %d and %d", bodies, work)
	}
}

func TestP7WhatIsReservedFitsInTheLimit(t *testing.T) {
	const size = 19 << 20
	for _, tt := range []struct {
		mib  int64
		want []int // of 16 that are asked for, again and again
	}{
		{64, []int{0}},
		{128, []int{1, 0}},
		{256, []int{1, 1, 1, 1, 1, 0}},
		{512, []int{7, 1, 1}},
		{2048, []int{16, 16}},
		{0, []int{16, 16, 16, 16, 16, 16, 16, 16, 16, 16}},
	} {
		e := NewEnv(func(string) string { return "" }, slog.New(slog.DiscardHandler))
		e.group = tt.mib << 20
		b, err := e.Budgets()
		if err != nil {
			t.Fatal(err)
		}
		reserved := int64(0)
		for i, want := range tt.want {
			n := b.Reserve(16, size)
			if n != want {
				t.Errorf("of %d MiB, the %d. time %d fit, want %d", tt.mib, i+1, n, want)
			}
			reserved += int64(n) * size
		}
		left := b.Work.Size() - b.Work.Lent()
		if tt.mib > 64 && baseMemory+b.Bodies.Size()+left+reserved > heapOf(tt.mib<<20) && tt.mib > 0 {
			t.Errorf("of %d MiB, %d are reserved beside %d of bodies and %d of work", tt.mib, reserved>>20, b.Bodies.Size()>>20, left>>20)
		}
	}
}

func TestABudgetLendsNoMoreThanItHas(t *testing.T) {
	b := NewBudget(10)
	if !b.TryTake(7) || b.TryTake(4) || !b.TryTake(3) {
		t.Error("of 10 it lent 7, and not 4, and 3")
	}
	b.Give(10)
	if err := b.Take(t.Context(), 10); err != nil || b.TryTake(1) {
		t.Errorf("it lent 10 of 10 and one more, or %v", err)
	}
}
