package main

import (
	"slices"
	"strings"
	"testing"
)

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		arrows      string // "ab" is one from a to b
		order       string
		back, cycle int
	}{
		"nothing":              {"", "abcd", 0, 0},
		"a line":               {"dc cb ba", "dcba", 0, 0},
		"a diamond":            {"da db ac bc", "dabc", 0, 0},
		"two need each other":  {"ab ba bc cd", "abcd", 1, 2},
		"a circle of three":    {"ab bc ca ad", "abcd", 1, 3},
		"everybody needs all":  {"ab ac ad ba bc bd ca cb cd da db dc", "abcd", 6, 12},
		"one file for the end": {"ad bd cd da", "bcad", 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			g := graph{}
			for _, a := range strings.Fields(c.arrows) {
				g.add(a[:1], a[1:])
			}
			names := []string{"a", "b", "c", "d"}
			order := g.order(names)
			back, cycle := len(g.up(order)), g.inCycles(names)
			if got := strings.Join(order, ""); got != c.order || back != c.back || cycle != c.cycle {
				t.Errorf("%s with %d back, %d in circles; want %s with %d, %d", got, back, cycle, c.order, c.back, c.cycle)
			}
			if !slices.IsSorted([]int{0, back, cycle, g.size()}) {
				t.Errorf("back %d, in circles %d, of %d", back, cycle, g.size())
			}
		})
	}
}
