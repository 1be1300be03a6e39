package proc

import (
	"maps"
	"slices"
	"sync"
)

// A Service is what a process opens connections to, by the name that manifests
// and network policies have for it: postgres, gateway. Whoever opens it says so
// by Uses.
type Service string

// Outside is whatever is not part of the system: mail servers, push services,
// endpoints of webhooks, providers of accounts.
const Outside Service = "outside"

// A record is what the parts of a process asked for while they were built.
// Deployments are made of it: secrets, settings and network policies of a
// function are those of its record.
type record struct {
	mu       sync.Mutex // not Env's: parts are opened while that is held
	settings map[string]Setting
	services map[Service]bool
}

// Uses notes that the process opens connections to a service. Whatever opens
// some calls it before, whether or not it connects at once.
func (e *Env) Uses(s Service) {
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	if e.record.services == nil {
		e.record.services = make(map[Service]bool)
	}
	e.record.services[s] = true
}

// Used returns the services that Uses was told of, in the order of their names.
func (e *Env) Used() []Service {
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	return slices.Sorted(maps.Keys(e.record.services))
}

// reads notes that a setting is read.
func (e *Env) reads(k Setting) {
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	if e.record.settings == nil {
		e.record.settings = make(map[string]Setting)
	}
	e.record.settings[k.Name] = k
}

// Read returns the settings that were read, whether or not they are set, in the
// order of their names.
func (e *Env) Read() []Setting {
	e.record.mu.Lock()
	defer e.record.mu.Unlock()
	var all []Setting
	for _, name := range slices.Sorted(maps.Keys(e.record.settings)) {
		all = append(all, e.record.settings[name])
	}
	return all
}
