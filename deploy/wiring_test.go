package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tidings-im/tidings/shared/proc"
)

// Who may talk to gateways is a table, since no setting tells it. Here it is
// read from the code: whose New comes, by whatever functions of its area's
// funcs.go, to NewGateways.
func TestWhoReachesGatewaysIsWhoOpensTheirRegistry(t *testing.T) {
	files, err := filepath.Glob("../functions/internal/*/funcs.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no areas: %v", err)
	}
	reach := make(map[string]bool)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		calls := make(map[string][]string) // of each top-level function
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				calls[d.Name.Name] = namesIn(d.Body)
			}
		}
		var opens func(names []string, seen map[string]bool) bool
		opens = func(names []string, seen map[string]bool) bool {
			for _, n := range names {
				if n == "NewGateways" {
					return true
				}
				if !seen[n] {
					seen[n] = true
					if opens(calls[n], seen) {
						return true
					}
				}
			}
			return false
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, name := range stringsIn(spec) { // one of them is what the function is called
						reach[name] = opens(namesIn(spec), map[string]bool{})
					}
				}
			}
		}
	}
	all, err := wire()
	if err != nil {
		t.Fatal(err)
	}
	some := false
	for _, f := range all {
		want, known := reach[f.Name]
		if !known {
			t.Errorf("%s is declared in no funcs.go", f.Name)
		}
		if got := matches(gatewayCallers, f.Name); got != want {
			t.Errorf("%s: the table says that it reaches gateways: %t; the code: %t", f.Name, got, want)
		}
		some = some || want
	}
	if !some {
		t.Error("no function reaches gateways: how they are found has changed")
	}
}

// namesIn returns the names that occur in a part of the code.
func namesIn(n ast.Node) []string {
	var names []string
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
		return true
	})
	return names
}

// stringsIn returns the strings that are written in a part of the code.
func stringsIn(n ast.Node) []string {
	var list []string
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				list = append(list, s)
			}
		}
		return true
	})
	return list
}

// The largest calls fit in the memory that a function has, two of them at least,
// and the largest body does.
func TestP7TheLargestCallsFitInTheLimitOfMemory(t *testing.T) {
	all, err := wire()
	if err != nil {
		t.Fatal(err)
	}
	limits := make(map[string]int) // MiB, by what runs a function
	memory := make(map[string]int64)
	for _, f := range all {
		limits[f.Name], memory[f.Name] = f.Scale.Mi(), f.Memory
	}
	for _, g := range grouped(all) {
		limits[g.Name+" (several)"] = g.Scale.Mi()
		for _, f := range g.Functions {
			memory[g.Name+" (several)"] = max(memory[g.Name+" (several)"], f.Memory)
		}
	}
	for name, mi := range limits {
		env := proc.NewEnv(func(setting string) string {
			return map[string]string{"MEMORY_LIMIT": fmt.Sprint(mi << 20)}[setting]
		}, slog.New(slog.DiscardHandler))
		budgets, err := env.Budgets()
		if err != nil {
			t.Fatal(err)
		}
		if work := budgets.Work.Size(); work < 2*memory[name] {
			t.Errorf("%s has %d MiB, of which %d are for calls: two of %d do not fit", name, mi, work>>20, memory[name]>>20)
		}
		if bodies := budgets.Bodies.Size(); bodies < 4*(4<<20) {
			t.Errorf("%s has %d MiB, of which %d are for bodies: one of FUNCTION_MAX_BODY does not fit", name, mi, bodies>>20)
		}
	}
}
