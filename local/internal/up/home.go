package up

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/shared/imtest/freeport"
	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/webpush"
)

// A home is the folder that one Tidings on this machine keeps everything in.
type home struct {
	dir  string
	lock *os.File
}

// openHome makes the folder and takes it for this process. One that is still
// stopping is waited for; one that runs is an error.
func openHome(dir string, wait time.Duration) (*home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	mode := os.FileMode(0o700)
	if os.Getuid() == 0 {
		mode = 0o711 // PostgreSQL runs as another user then, and must get to its own folder
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "pid"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			pid, _ := os.ReadFile(f.Name())
			f.Close()
			return nil, fmt.Errorf("the data in %s is in use by Tidings, as process %s: stop it first, or give this one a folder and an address of its own (--data, --addr)", dir, strings.TrimSpace(string(pid)))
		}
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	return &home{dir, f}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func (h *home) close() error { return h.lock.Close() }

func (h *home) path(name ...string) string {
	return filepath.Join(append([]string{h.dir}, name...)...)
}

// ports returns a port for each name: the one it had at the last start unless
// something else has taken it since. A port named by taken is not given out.
func (h *home) ports(taken string, names ...string) (map[string]int, error) {
	file := h.path("ports.json")
	kept := make(map[string]int)
	if b, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(b, &kept); err != nil {
			return nil, fmt.Errorf("reading %s: %w (it may be removed)", file, err)
		}
	}
	_, not, _ := net.SplitHostPort(taken)
	ports := make(map[string]int)
	for _, name := range names {
		port := kept[name]
		for port == 0 || strconv.Itoa(port) == not || freeport.Keep(port) != nil {
			var err error
			if port, err = freeport.Take(); err != nil {
				return nil, fmt.Errorf("finding a port for %s: %w", name, err)
			}
		}
		ports[name] = port
	}
	b, err := json.Marshal(ports)
	if err != nil {
		return nil, err
	}
	return ports, h.write("ports.json", b)
}

// secrets returns the settings that hold keys, made at the first start.
func (h *home) secrets() (map[string]string, error) {
	seal, err := h.secret("seal-keys", func() ([]byte, error) {
		var key [32]byte
		rand.Read(key[:])
		return []byte("local:" + base64.StdEncoding.EncodeToString(key[:])), nil
	})
	if err != nil {
		return nil, err
	}
	private, err := h.secret("token-private-key", func() ([]byte, error) {
		key, err := token.GenerateKey()
		return []byte(key), err
	})
	if err != nil {
		return nil, err
	}
	public, err := token.PublicKey(private)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", h.path("token-private-key"), err)
	}
	push, err := h.secret("vapid-private-key", func() ([]byte, error) {
		key, err := webpush.GenerateKey()
		return []byte(key), err
	})
	if err != nil {
		return nil, err
	}
	pushPublic, err := webpush.PublicKey(push)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", h.path("vapid-private-key"), err)
	}
	return map[string]string{
		"SEAL_KEYS": seal, "TOKEN_PRIVATE_KEY": private, "TOKEN_PUBLIC_KEYS": public,
		"VAPID_PRIVATE_KEY": push, "VAPID_PUBLIC_KEY": pushPublic,
	}, nil
}

// secret returns what the file holds; if there is none, what is made now.
func (h *home) secret(name string, make func() ([]byte, error)) (string, error) {
	b, err := os.ReadFile(h.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = make(); err == nil {
			err = h.write(name, b)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the secret %s: %w", h.path(name), err)
	}
	return string(b), nil
}

// write writes a file that only we may read, whole or not at all.
func (h *home) write(name string, b []byte) error {
	f, err := os.OpenFile(h.path(name+".new"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Rename(f.Name(), h.path(name))
}
