//go:build unix && !linux && !darwin

package host

import "fmt"

// factsOf is not implemented on these systems.
func factsOf(pid int) (facts, error) {
	return facts{}, fmt.Errorf("process %d cannot be identified on this system", pid)
}
