package proc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheLimitOfMemoryIsThatOfTheControlGroup(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             float64
		limited          bool
	}{
		{"of version 2", "memory.max", "268435456\n", 256 << 20, true},
		{"none, of version 2", "memory.max", "max\n", 0, false},
		{"of version 1", "memory/memory.limit_in_bytes", "134217728\n", 128 << 20, true},
		{"none, of version 1", "memory/memory.limit_in_bytes", "9223372036854771712\n", 0, false},
		{"none that is known", "other", "", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, tt.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, ok := memoryLimit(root); ok != tt.limited || ok && got != tt.want {
				t.Errorf("memoryLimit = %v, %v", got, ok)
			}
		})
	}
}
