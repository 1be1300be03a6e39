package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryLimit returns how many bytes of memory the process may use by its
// control group, whose files a container has at root; false if that is not
// limited, or not known
// (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files).
func memoryLimit(root string) (float64, bool) {
	const unlimited = 1 << 60 // version 1 has a large number for it
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		limit, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		return float64(limit), err == nil && limit < unlimited
	}
	return 0, false
}
