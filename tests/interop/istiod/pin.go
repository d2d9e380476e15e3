//go:build pin

// Package pin names the program whose versions go.mod and go.sum pin.
package pin

import _ "istio.io/istio/pilot/cmd/pilot-discovery"
