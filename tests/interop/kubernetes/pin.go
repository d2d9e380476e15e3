//go:build pin

// Package pin names the programs whose versions go.mod and go.sum pin.
package pin

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
