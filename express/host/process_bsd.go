//go:build unix && !linux && !darwin

package host

import "fmt"

// factsOf knows no way to ask these systems about a process.
func factsOf(pid int) (facts, error) {
	return facts{}, fmt.Errorf("process %d cannot be identified on this system", pid)
}
