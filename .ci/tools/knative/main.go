// Knative proves what can be proved of knative/ without a cluster: that every
// overlay builds, that each object is what its API defines, field for field,
// that Knative's own webhooks would take it, and that the objects fit each
// other and functions.All.
//
//	go -C .ci/tools run ./knative
//
// Not proved: that the API server takes the objects of Kubernetes itself, whose
// validation is not in a library (their fields are checked).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidings-im/tidings/shared/proc"
)

func main() {
	top, err := checkout()
	if err != nil {
		fmt.Fprintln(os.Stderr, "knative:", err)
		os.Exit(1)
	}
	failed := false
	for _, dir := range overlays {
		start := time.Now()
		all, err := build(filepath.Join(top, dir))
		if err != nil {
			fmt.Printf("%s: %v\n", dir, err)
			failed = true
			continue
		}
		found := check(top, all)
		for _, f := range found {
			fmt.Printf("%s: %s\n", dir, f)
		}
		failed = failed || len(found) > 0
		fmt.Printf("%s: %d objects, %d wrong (%s)\n", dir, len(all.list), len(found), time.Since(start).Round(time.Millisecond))
	}
	if failed {
		os.Exit(1)
	}
}

// overlays are what is applied, each a folder for kubectl apply -k.
var overlays = []string{
	"knative",
	"knative/overlays/dev",
	"knative/overlays/production",
	"knative/overlays/connector",
	".ci/tools/knative/testdata/all", // production with every component
}

// checkout returns the top folder of the checkout: the parent of the module
// that this is run in.
func checkout() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "knative", "kustomization.yaml")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("this is no checkout of Tidings: there is no knative/kustomization.yaml above the working directory")
		}
		dir = up
	}
	return "", err
}

// check returns what is wrong with the objects, in sentences.
func check(top string, all *objects) []string {
	c := &checker{objects: all, top: top, reads: make(map[string]map[string]bool), uses: make(map[string][]proc.Service)}
	c.names()
	c.webhooks()
	c.references()
	c.rights()
	c.images()
	c.functions()
	c.times()
	c.gateway()
	c.environment()
	c.topics()
	c.policies()
	return c.found
}

type checker struct {
	*objects
	top   string
	found []string
	reads map[string]map[string]bool // settings that the process of a pod reads, by the pod's owner
	uses  map[string][]proc.Service  // what it opens connections to
}

func (c *checker) wrong(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}
