//go:build !linux

package host

import "time"

// Board is for Linux.
type Board struct{}

// SetHealth is for Linux.
func (*Board) SetHealth(string) {}

// SetPatience is for Linux.
func (*Board) SetPatience(time.Duration) {}

// Set is for Linux.
func (*Board) Set(State) {}

// Counts is for Linux.
func (*Board) Counts() (c Counts) { return c }

func (*Board) close() {}
