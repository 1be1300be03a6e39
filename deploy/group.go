package main

import (
	"fmt"
	"slices"
	"time"
)

// A group is several functions in one deployable.
type group struct {
	Name      string
	Functions []function
	needs
	Scale scale
}

// MaxReplicas is what the Community Edition allows.
func (g group) MaxReplicas() int { return min(g.Scale.Max, 5) }

// Shared reports whether functions share the deployable: they do.
func (g group) Shared() bool { return true }

// Patterns returns by what the functions of the deployable are chosen.
func (g group) Patterns() string {
	for _, known := range groups {
		if known.name == g.Name {
			return known.patterns
		}
	}
	return ""
}

// Every is 0: the connector is the clock of functions that share a deployable.
func (g group) Every() time.Duration { return 0 }

// Timed reports whether nobody calls g but a clock.
func (g group) Timed() bool { return g.Name == "timers" }

// Topics returns the topics that trigger a function of g.
func (g group) Topics() []string {
	var topics []string
	for _, f := range g.Functions {
		if f.Topic != "" && !slices.Contains(topics, f.Topic) {
			topics = append(topics, f.Topic)
		}
	}
	return topics
}

// grouped returns the deployables of a platform that allows few of them.
func grouped(all []function) []group {
	var out []group
	for _, known := range groups {
		g := group{Name: known.name, Scale: rare}
		for _, f := range all {
			if f.Group != g.Name {
				continue
			}
			g.Functions = append(g.Functions, f)
			g.needs = g.needs.and(f.needs)
			memory := max(g.Scale.Mi(), f.Scale.Mi())
			if f.Scale.Name == bulk.Name && g.Scale.Name == bulk.Name { // each bounds what it alone holds
				memory = g.Scale.Mi() + f.Scale.Mi()
			}
			if f.Scale.Min > g.Scale.Min || f.Scale.Min == g.Scale.Min && f.Scale.Mi() > g.Scale.Mi() {
				g.Scale = f.Scale
			}
			g.Scale.Memory = fmt.Sprintf("%dMi", memory)
		}
		out = append(out, g)
	}
	return out
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// timed returns the functions that are called by a clock.
func timed(all []function) []function {
	var out []function
	for _, f := range all {
		if f.Every > 0 {
			out = append(out, f)
		}
	}
	return out
}
