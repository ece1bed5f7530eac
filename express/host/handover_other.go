//go:build !linux

package host

import "errors"

// HandsOver reports whether an httpd can hand its listening sockets over to the next one.
const HandsOver = false

// NewHandover is for Linux.
func NewHandover(bool) (*Handover, error) { return nil, errors.ErrUnsupported }

// Keep is for Linux.
func (h *Handover) Keep() ([]string, error) { return nil, errors.ErrUnsupported }

// InheritedHandover is for Linux.
func InheritedHandover(int) (*Handover, error) { return nil, errors.ErrUnsupported }

func closeAll([]int) {}

// Lives is for Linux.
func Lives(int, string) bool { return false }

// IsChild is for Linux.
func IsChild(int, int) bool { return false }

// Birth is for Linux.
func Birth(int) string { return "" }
