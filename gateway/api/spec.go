package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// An operation is one operation of the contract, as far as routing needs it.
type operation struct {
	Function   string      `yaml:"operationId"`
	Parameters []parameter `yaml:"parameters"` // in path and query
	Body       *body       `yaml:"requestBody"`
	Security   *[]any      `yaml:"security"` // nil is that of all: an access token

	idempotent bool // takes an Idempotency-Key
}

type body struct {
	Required bool `yaml:"required"`
}

type parameter struct {
	Ref      string `yaml:"$ref"`
	Name     string `yaml:"name"`
	In       string `yaml:"in"`
	Required bool   `yaml:"required"`
	Schema   schema `yaml:"schema"`
}

type schema struct {
	Ref  string `yaml:"$ref"`
	Type string `yaml:"type"`
}

// methods are those of the contract.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// operations reads the contract: path → method → operation.
func operations(spec []byte) (map[string]map[string]operation, error) {
	var doc struct {
		Paths      map[string]map[string]operation `yaml:"paths"`
		Components struct {
			Schemas    map[string]schema    `yaml:"schemas"`
			Parameters map[string]parameter `yaml:"parameters"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return nil, fmt.Errorf("reading the contract of the API: %w", err)
	}
	all := make(map[string]map[string]operation)
	for path, item := range doc.Paths {
		all[path] = make(map[string]operation)
		for method, op := range item {
			if !slices.Contains(methods, strings.ToUpper(method)) {
				return nil, fmt.Errorf("%s %s: there are the methods %s only", method, path, strings.Join(methods, ", "))
			}
			if op.Function == "" {
				return nil, fmt.Errorf("%s %s has no operationId", method, path)
			}
			declared := op.Parameters
			op.Parameters = nil
			for _, p := range declared {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
					p = doc.Components.Parameters[name]
				}
				if p.In == "header" && p.Name == fn.IdempotencyKey {
					op.idempotent = true
					continue
				}
				if name, ok := strings.CutPrefix(p.Schema.Ref, "#/components/schemas/"); ok {
					p.Schema = doc.Components.Schemas[name]
				}
				if err := p.check(path); err != nil {
					return nil, fmt.Errorf("%s %s, parameter %q: %w", method, path, p.Name, err)
				}
				op.Parameters = append(op.Parameters, p)
			}
			all[path][strings.ToUpper(method)] = op
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the contract of the API has no paths")
	}
	return all, nil
}

// check reports what of p the gateway could not take from a request.
func (p *parameter) check(path string) error {
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case p.In == "path" && !strings.Contains(path, "{"+p.Name+"}"):
		return errors.New("it is not in the path")
	case p.In != "path" && p.In != "query":
		return fmt.Errorf("it is in %q: only path and query are read", p.In)
	}
	switch p.Schema.Type {
	case "string", "integer", "number", "boolean":
		return nil
	}
	return fmt.Errorf("its type is %q: only string, integer, number and boolean are read", p.Schema.Type)
}

// convert returns a value of p as JSON.
func (p *parameter) convert(s string) (json.RawMessage, error) {
	var ok bool
	switch p.Schema.Type {
	case "integer":
		n, err := strconv.ParseInt(s, 10, 64)
		s, ok = strconv.FormatInt(n, 10), err == nil
	case "number":
		n, err := strconv.ParseFloat(s, 64)
		s, ok = strconv.FormatFloat(n, 'g', -1, 64), err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	case "boolean":
		ok = s == "true" || s == "false"
	default:
		b, err := im.JSON(s)
		return b, err
	}
	if !ok {
		return nil, im.Errorf(im.Invalid, "%q is of type %s", p.Name, p.Schema.Type)
	}
	return json.RawMessage(s), nil
}
