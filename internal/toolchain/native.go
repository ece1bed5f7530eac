package toolchain

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"
	"strings"
)

// Native reports whether the compiler generates code for the processor that it runs on
// (-march=native). Another machine with the same compiler then generates different code,
// which may not run here.
func (h *Toolchain) Native() bool {
	return slices.ContainsFunc(h.CC, func(word string) bool {
		return strings.HasPrefix(word, "-m") && strings.HasSuffix(word, "=native")
	})
}

// processor returns a short text that is equal for processors with the same features, as
// far as the kernel reports them.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		host, _ := os.Hostname()
		return host
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return abilities(string(data))
}

// abilities is processor for a text of /proc/cpuinfo.
func abilities(info string) string {
	var lines []string
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name", "flags", "Features", "CPU implementer", "CPU part", "cpu family", "model", "isa", "cpu":
			lines = append(lines, strings.TrimSpace(name)+" "+strings.TrimSpace(value))
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(sum[:])[:12]
}
