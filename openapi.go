// Package tidings holds the contracts: of the HTTP API, and of the socket and
// the topics.
package tidings

import _ "embed"

// OpenAPI is openapi.yaml: the gateway routes by it, and a test holds the
// functions to it.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI is asyncapi.yaml: what is said on the socket, and what the topics
// hold.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
