// Package tidings holds the contract of the HTTP API.
package tidings

import _ "embed"

// OpenAPI is openapi.yaml: the gateway routes by it, and a test holds the
// functions to it.
//
//go:embed openapi.yaml
var OpenAPI []byte
