// Package observe is what watches Tidings: the configuration of Prometheus, its
// alerts, and a dashboard of Grafana. There is no code in it but the test that
// holds them to the metrics of the code, and to docs/runbook.md.
package observe
