// Package promql has Prometheus's own parser and engine try what observe/ asks
// of it: each expression of the alerts and of the dashboard is understood, each
// alert fires in a system that is ill, and none in one that is well.
//
//	go -C .ci/tools test ./promql
package promql
