// Package api holds the OpenAPI document of lockd's REST API. The tests of
// package httpapi hold the server to it.
package api

import _ "embed"

// OpenAPI is the document, in YAML. Nobody may change it.
//
//go:embed openapi.yaml
var OpenAPI []byte
