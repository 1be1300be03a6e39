// Promql has Prometheus's own parser read each expression of observe/: of the
// alerts, and of the dashboard.
//
//	go -C .ci/tools run ./promql
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

func main() {
	all, err := expressions(filepath.Join("..", "..", "observe"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
	bad := 0
	for _, e := range all {
		// What Grafana puts in the place of its variables.
		text := strings.NewReplacer("$__rate_interval", "1m", "$function", ".*").Replace(e.text)
		if _, err := parser.ParseExpr(text); err != nil {
			bad++
			fmt.Printf("%s: %v\n\t%s\n", e.where, err, e.text)
		}
	}
	fmt.Printf("%d expressions, %d that Prometheus does not understand\n", len(all), bad)
	if bad > 0 || len(all) < 50 {
		os.Exit(1)
	}
}

type expression struct{ where, text string }

func expressions(dir string) ([]expression, error) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := read(filepath.Join(dir, "alerts.yml"), &rules); err != nil {
		return nil, err
	}
	if err := read(filepath.Join(dir, "grafana", "dashboards", "tidings.json"), &board); err != nil {
		return nil, err
	}
	var all []expression
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, expression{"alert " + r.Alert, r.Expr})
		}
	}
	for _, p := range board.Panels {
		for _, t := range p.Targets {
			all = append(all, expression{"panel " + p.Title, t.Expr})
		}
	}
	return all, nil
}

// read reads YAML, of which JSON is a part.
func read(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
