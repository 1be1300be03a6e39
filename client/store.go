package client

import (
	"context"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
)

// A Store keeps what a client must know again after its program was restarted.
// A client calls it from several goroutines and waits for it, so it should be
// quick. A Store belongs to one user on one device.
//
// Exactly once reaches as far as the Store does: a program that dies between
// handling a message and SaveCursor is given that message again.
type Store interface {
	// Load returns what was kept: the zero State if nothing was.
	Load(context.Context) (State, error)
	// SaveSession keeps who is signed in and the refresh token that is good
	// from now on: the one before it is spent.
	SaveSession(ctx context.Context, user, refreshToken string) error
	// SaveCursor keeps the seq of the last message handled.
	SaveCursor(ctx context.Context, seq int64) error
	// AddUnsettled keeps a message that is about to be sent.
	AddUnsettled(context.Context, Unsettled) error
	// RemoveUnsettled forgets one that was accepted, refused or given up.
	RemoveUnsettled(ctx context.Context, clientID string) error
}

// A ProofStore is a Store that keeps the proof that the device was signed in, too:
// by it the device signs in although strangers guess at the password. It is good
// after the session has ended.
type ProofStore interface {
	Store
	// SaveDeviceProof keeps a proof in the place of the one before.
	SaveDeviceProof(ctx context.Context, proof string) error
}

// State is all that a Store keeps.
type State struct {
	User         string // id
	RefreshToken string
	DeviceProof  string      // of a ProofStore
	Cursor       int64       // seq of the last message handled
	Unsettled    []Unsettled // in the order in which they were added
}

// An Unsettled is a message of which it is not known whether it was accepted.
type Unsettled struct {
	Draft im.Draft
	After int64 // it cannot stand in the inbox at this seq or before
}

// Memory is a Store that forgets when the program ends. Its zero value is
// ready; one Memory can be given to one Client after another.
type Memory struct {
	mu    sync.Mutex
	state State
}

// Load returns what was kept.
func (m *Memory) Load(context.Context) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Unsettled = slices.Clone(s.Unsettled)
	return s, nil
}

// SaveSession keeps who is signed in.
func (m *Memory) SaveSession(_ context.Context, user, refreshToken string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.User, m.state.RefreshToken = user, refreshToken
	return nil
}

// SaveDeviceProof keeps the proof that the device was signed in.
func (m *Memory) SaveDeviceProof(_ context.Context, proof string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.DeviceProof = proof
	return nil
}

// SaveCursor keeps the seq of the last message handled.
func (m *Memory) SaveCursor(_ context.Context, seq int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Cursor = seq
	return nil
}

// AddUnsettled keeps a message that is about to be sent.
func (m *Memory) AddUnsettled(_ context.Context, u Unsettled) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Unsettled = append(m.state.Unsettled, u)
	return nil
}

// RemoveUnsettled forgets a message.
func (m *Memory) RemoveUnsettled(_ context.Context, clientID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Unsettled = slices.DeleteFunc(m.state.Unsettled, func(u Unsettled) bool { return u.Draft.ClientID == clientID })
	return nil
}
