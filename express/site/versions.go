package site

import (
	"strconv"
	"strings"
)

// AtLeastVersion compares versions of mod_wsgi ("4.9.10"). Text after the digits of a
// part ("6.0.0rc1") is ignored.
func AtLeastVersion(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for k := range w {
		a, b := 0, leadingNumber(w[k])
		if k < len(h) {
			a = leadingNumber(h[k])
		}
		if a != b {
			return a > b
		}
	}
	return true
}

// OrUnknown returns a version for messages.
func OrUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}

func leadingNumber(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	return n
}

// OldestModule is the oldest mod_wsgi that this launcher starts. Older ones fail
// requests with many headers in daemon mode if the system accepts only few buffers per
// writev call, and do not support service scripts.
const OldestModule = "4.4.11"
