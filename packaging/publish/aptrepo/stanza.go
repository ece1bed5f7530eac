package aptrepo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// stanza is one paragraph of a control file (deb822(5)), whose text is kept as it is.
type stanza struct {
	text   string // ends in a newline
	fields map[string]string
}

// parse reads a text with several stanzas. Names of fields are in lower case, values
// without the newlines of their continuation.
func parse(text string) ([]stanza, error) {
	var all []stanza
	for part := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		if part = strings.Trim(part, "\n"); part == "" {
			continue
		}
		s := stanza{text: part + "\n", fields: map[string]string{}}
		last := ""
		for line := range strings.SplitSeq(part, "\n") {
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				if last == "" {
					return nil, fmt.Errorf("unexpected line %.60q", line)
				}
				s.fields[last] = strings.TrimPrefix(s.fields[last]+"\n"+strings.TrimSpace(line), "\n")
				continue
			}
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("unexpected line %.60q", line)
			}
			last = strings.ToLower(name)
			s.fields[last] = strings.TrimSpace(value)
		}
		all = append(all, s)
	}
	return all, nil
}

func (s stanza) get(name string) string { return s.fields[strings.ToLower(name)] }

// key identifies a package: two files with the same key are a conflict.
func (s stanza) key() string {
	return s.get("Package") + " " + s.get("Version") + " " + s.get("Architecture")
}

// packages formats the stanzas of an index, sorted.
func packages(all []stanza) []byte {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b stanza) int {
		return cmp.Or(strings.Compare(a.get("Package"), b.get("Package")), strings.Compare(a.key(), b.key()))
	})
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.text + "\n")
	}
	return []byte(b.String())
}
