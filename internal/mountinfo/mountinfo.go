// Package mountinfo reads Linux's list of mounted file systems, /proc/PID/mountinfo
// (proc_pid_mountinfo(5)).
package mountinfo

import (
	"iter"
	"strconv"
	"strings"
)

// Mount is one mounted file system.
type Mount struct {
	ID      string
	Device  string // "MAJOR:MINOR", decimal
	Root    string // the directory of the file system that is mounted
	Point   string // where it is mounted
	Type    string
	Options string // of the file system, separated by commas
}

// Parse returns the mounts of a file. Lines of another form are left out.
func Parse(text string) iter.Seq[Mount] {
	return func(yield func(Mount) bool) {
		for line := range strings.Lines(text) {
			// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
			before, after, _ := strings.Cut(line, " - ")
			f, g := strings.Fields(before), strings.Fields(after)
			if len(f) < 5 || len(g) < 3 {
				continue
			}
			if !yield(Mount{ID: f[0], Device: f[2], Root: unescape(f[3]), Point: unescape(f[4]), Type: g[0], Options: g[2]}) {
				return
			}
		}
	}
}

// unescape decodes the octal escapes, \040 for a space.
func unescape(text string) string {
	var b strings.Builder
	for k := 0; k < len(text); k++ {
		if text[k] == '\\' && k+3 < len(text) {
			if n, err := strconv.ParseUint(text[k+1:k+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				k += 3
				continue
			}
		}
		b.WriteByte(text[k])
	}
	return b.String()
}
