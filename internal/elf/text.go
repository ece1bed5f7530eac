package elf

import (
	"bytes"
	"regexp"
)

var fullVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?`)

// VersionsIn lists the version numbers in binary data that begin with start and follow
// label, but not those that are the end of something longer. Searching plain bytes is a
// hundred times faster than a regular expression.
func VersionsIn(data []byte, label, start string) []string {
	var found []string
	needle := []byte(label + start)
	for at := 0; len(found) < 16; {
		i := bytes.Index(data[at:], needle)
		if i < 0 {
			break
		}
		i += at
		at = i + len(needle)
		if label == "" && i > 0 && (data[i-1] == '.' || data[i-1] >= '0' && data[i-1] <= '9') {
			continue
		}
		begin := i + len(label)
		if v := fullVersion.Find(data[begin:min(begin+32, len(data))]); v != nil {
			found = append(found, string(v))
		}
	}
	return found
}
