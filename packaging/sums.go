package packaging

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

var sumsLine = regexp.MustCompile(`^([0-9a-f]{64})  ([^/\-\\].*)$`)

// ParseSums reads a list of checksums: lowercase hex by name. It accepts only the
// plain format of sha256sum, with unique names that stay in the directory.
func ParseSums(data []byte) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		m := sumsLine.FindStringSubmatch(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
		if m == nil || !filepath.IsLocal(filepath.FromSlash(m[2])) || sums[m[2]] != "" {
			return nil, fmt.Errorf("%s is not a list of checksums: %.80q", SumsName, line)
		}
		sums[m[2]] = m[1]
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("%s is empty", SumsName)
	}
	return sums, nil
}

// Some joins the first names of a list for a message, and counts the others.
func Some(names []string, most int) string {
	text := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}
