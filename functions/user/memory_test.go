package user

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

func TestP7NoMorePasswordsAreHashedAtATimeThanFitInTheMemory(t *testing.T) {
	for mib, want := range map[int]int{128: 1, 256: 1, 512: 7, 4096: 64} {
		env := imtest.Env(t, map[string]string{"MEMORY_LIMIT": fmt.Sprint(mib << 20), "PASSWORD_PARALLEL": "64"})
		h, err := proc.Build(t.Context(), env, func(o *proc.Opener) *hasher { return hasherIn(o, "signing in") })
		if err != nil || h.line.free != want {
			t.Errorf("in %d MiB: %v, want %d at a time, %v", mib, h, want, err)
		}
	}
	env := imtest.Env(t, map[string]string{"MEMORY_LIMIT": fmt.Sprint(64 << 20)})
	if _, err := proc.Build(t.Context(), env, func(o *proc.Opener) *hasher { return hasherIn(o, "signing in") }); err == nil || !strings.Contains(err.Error(), "more memory") {
		t.Errorf("where not one fits: %v", err)
	}
}

// One that another implementation made may take more than those made here.
func TestP7AStoredHashThatTakesMoreMemoryIsHashedIfThereIsAsMuch(t *testing.T) {
	h := newHasher(1, 0)
	h.work = proc.NewBudget(8 << 20)
	larger := params{memory: current.memory + 6<<10, time: 1, threads: 1}
	for lent, busy := range map[int64]bool{0: false, 3 << 20: true} {
		h.work.TryTake(lent)
		_, err := h.sum(t.Context(), "", "password", make([]byte, saltLen), larger, hashLen)
		if errors.Is(err, im.Overloaded) != busy || !busy && err != nil {
			t.Errorf("while %d bytes are lent: %v", lent, err)
		}
		h.work.Give(lent)
	}
	larger.memory = current.memory + 9<<10
	if _, err := h.sum(t.Context(), "", "password", make([]byte, saltLen), larger, hashLen); err == nil || errors.Is(err, im.Overloaded) {
		t.Errorf("one that never fits: %v", err)
	}
	if n := h.work.Lent(); n != 0 || h.line.free != 1 {
		t.Errorf("%d bytes and %d turns are not given back", n, 1-h.line.free)
	}
}
