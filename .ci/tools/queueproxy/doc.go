// Package queueproxy proves, by its test, that every function works behind
// Knative's own queue-proxy, with the settings that its manifest in knative/
// gives it: what each answers to events in each form, to what is none, to
// repeats, while its stores are down, and when it is told to stop.
//
// Each function is a process of its own with its container's arguments. queue-proxy listens on ports of its own
// (8022, 9090), so functions take turns, and nothing else may listen there.
package queueproxy
