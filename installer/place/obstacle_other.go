//go:build !linux

package place

import "modwsgi/internal/owned"

// On these systems, such obstacles show only when something is changed.

func closedDir(*owned.Dir) *obstacle { return nil }

func fixed(spot) *obstacle { return nil }

func obstacleAt(string) (*obstacle, string) { return nil, "" }

func writable(*owned.Dir) error { return nil }
