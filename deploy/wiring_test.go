package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"
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
