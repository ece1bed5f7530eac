//go:build !linux

package freeport

import "sync"

var reserved sync.Map

// reserve takes a port for this process.
func reserve(port int) (release func(), ok bool) {
	if _, taken := reserved.LoadOrStore(port, true); taken {
		return nil, false
	}
	return func() { reserved.Delete(port) }, true
}
