package main

import (
	"slices"
	"time"
)

// A group is several functions in one deployable.
type group struct {
	Name      string
	Functions []function
	Needs     []string
	Kafka     bool
	Inbox     bool
	Every     time.Duration // of a timed function, which is one alone
	Scale     scale
}

// MaxReplicas is what the Community Edition allows.
func (g group) MaxReplicas() int { return min(g.Scale.Max, 5) }

// Patterns returns what the setting FUNCTIONS of the deployable is.
func (g group) Patterns() string {
	for _, known := range groups {
		if known.name == g.Name {
			return known.patterns
		}
	}
	return ""
}

// Topics returns the topics that trigger a function of g.
func (g group) Topics() []string {
	var topics []string
	for _, f := range g.Functions {
		if f.Topic != "" {
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
			g.Kafka = g.Kafka || f.Kafka
			g.Inbox = g.Inbox || f.Inbox
			g.Every = max(g.Every, f.Every)
			g.Needs = append(g.Needs, f.Needs...)
			if f.Scale.Min > g.Scale.Min || f.Scale.Name == heavy.Name {
				g.Scale = f.Scale
			}
		}
		slices.Sort(g.Needs)
		g.Needs = slices.Compact(g.Needs)
		out = append(out, g)
	}
	return out
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
