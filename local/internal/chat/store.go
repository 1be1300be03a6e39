package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

// A store keeps the state of the client in a file, which belongs to one
// process at a time.
type store struct {
	file string
	lock *os.File

	mu   sync.Mutex
	kept kept
}

type kept struct {
	Device string
	client.State
}

func openStore(folder, account string) (*store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for the chat: %w", err)
	}
	s := &store{file: filepath.Join(folder, account+".json")}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(folder, account+".lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("opening the chat of %s: %w", account, err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("%s chats already in another terminal; a second device of theirs needs a folder of its own, such as --data /tmp/%[1]s", account)
	}
	b, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.kept.Device = "terminal-" + im.NewID()
	case err != nil:
		s.lock.Close()
		return nil, fmt.Errorf("reading the chat of %s: %w", account, err)
	default:
		if err := json.Unmarshal(b, &s.kept); err != nil {
			s.lock.Close()
			return nil, fmt.Errorf("reading the chat of %s: %w (%s may be removed)", account, err, s.file)
		}
	}
	return s, nil
}

func (s *store) close() error { return s.lock.Close() }

func (s *store) device() string { return s.kept.Device }

// signedIn reports whether there was a session at the last time.
func (s *store) signedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.RefreshToken != ""
}

// change changes what is kept, in memory and then in the file, whole or not at all.
func (s *store) change(f func(*client.State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.kept.State)
	b, err := json.Marshal(s.kept)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", b, 0o600); err != nil {
		return fmt.Errorf("keeping the state of the chat: %w", err)
	}
	return os.Rename(s.file+".new", s.file)
}

// Load returns what was kept.
func (s *store) Load(context.Context) (client.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.kept.State
	state.Unsettled = slices.Clone(state.Unsettled)
	return state, nil
}

// SaveSession keeps who is signed in.
func (s *store) SaveSession(_ context.Context, user, refreshToken string) error {
	return s.change(func(k *client.State) { k.User, k.RefreshToken = user, refreshToken })
}

// SaveDeviceProof keeps the proof that the device was signed in.
func (s *store) SaveDeviceProof(_ context.Context, proof string) error {
	return s.change(func(k *client.State) { k.DeviceProof = proof })
}

// SaveCursor keeps the seq of the last message shown.
func (s *store) SaveCursor(_ context.Context, seq int64) error {
	return s.change(func(k *client.State) { k.Cursor = seq })
}

// AddUnsettled keeps a message that is about to be sent.
func (s *store) AddUnsettled(_ context.Context, u client.Unsettled) error {
	return s.change(func(k *client.State) { k.Unsettled = append(k.Unsettled, u) })
}

// RemoveUnsettled forgets a message.
func (s *store) RemoveUnsettled(_ context.Context, clientID string) error {
	return s.change(func(k *client.State) {
		k.Unsettled = slices.DeleteFunc(k.Unsettled, func(u client.Unsettled) bool { return u.Draft.ClientID == clientID })
	})
}

// people are the accounts of users that somebody on this machine has had to do
// with, a file for each: the API tells a user's id of an account, and not the
// other way round.
type people struct{ folder string }

func (p people) remember(u im.User) error {
	if !im.IsID(u.ID) { // it names a file
		return fmt.Errorf("the server calls %s %.40q, which is not the id of a user", u.Account, u.ID)
	}
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return fmt.Errorf("making a folder for people: %w", err)
	}
	if err := os.WriteFile(filepath.Join(p.folder, u.ID), []byte(u.Account), 0o600); err != nil {
		return fmt.Errorf("remembering %s: %w", u.Account, err)
	}
	return nil
}

// account returns the account of a user, or the id if it is not known.
func (p people) account(user string) string {
	if !im.IsID(user) {
		return clean(user)
	}
	b, err := os.ReadFile(filepath.Join(p.folder, user))
	if err != nil {
		return "u:" + user
	}
	return clean(string(b))
}
