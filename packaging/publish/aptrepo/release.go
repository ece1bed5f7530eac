package aptrepo

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file is an entry of a Release file.
type file struct {
	sum  string // SHA-256, lower case hex
	size int64
}

// suite is the content of a Release file.
type suite struct {
	fields map[string]string // as in a stanza, without the lists of files
	names  map[string]string // the spelling of fields
	files  map[string]file   // by name below the suite
}

// sections are the fields of a Release file that list files. Only SHA256 is written: apt
// accepts it since version 0.8.
var sections = []string{"md5sum", "sha1", "sha256", "sha512"}

// readSuite reads the text of a Release file.
func readSuite(text string) (*suite, error) {
	all, err := parse(text)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("it has %d paragraphs, not one", len(all))
	}
	s := &suite{fields: all[0].fields, names: map[string]string{}, files: map[string]file{}}
	for line := range strings.Lines(all[0].text) {
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			s.names[strings.ToLower(name)] = name
		}
	}
	if s.fields["sha256"] == "" && s.fields["md5sum"]+s.fields["sha1"]+s.fields["sha512"] != "" {
		return nil, fmt.Errorf("it lists files without SHA256")
	}
	for line := range strings.SplitSeq(s.fields["sha256"], "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("unexpected line %.60q", line)
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || len(words[0]) != 64 {
			return nil, fmt.Errorf("unexpected line %.60q", line)
		}
		s.files[words[2]] = file{words[0], size}
	}
	for _, name := range sections {
		delete(s.fields, name)
	}
	return s, nil
}

// words are the words of a field.
func (s *suite) words(name string) []string { return strings.Fields(s.fields[strings.ToLower(name)]) }

// set sets a field. An empty value removes it.
func (s *suite) set(name, value string) {
	key := strings.ToLower(name)
	if value == "" {
		delete(s.fields, key)
		return
	}
	s.fields[key], s.names[key] = value, name
}

// include adds words to a field, which keeps them sorted.
func (s *suite) include(name string, words ...string) {
	all := append(s.words(name), words...)
	slices.Sort(all)
	s.set(name, strings.Join(slices.Compact(all), " "))
}

// dates are the formats of dates in Release files: what repositories write, and what RFC
// 2822 allows.
var dates = []string{time.RFC1123, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 -0700"}

func date(text string) (time.Time, bool) {
	for _, format := range dates {
		if t, err := time.Parse(format, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// renew sets the date. valid is how long the suite is valid then; 0 keeps the previous
// duration, if there is one.
func (s *suite) renew(now time.Time, valid time.Duration) {
	if until, ok := date(s.fields["valid-until"]); ok && valid == 0 {
		if from, ok := date(s.fields["date"]); ok && until.After(from) {
			valid = until.Sub(from)
		}
	}
	s.set("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	s.set("Valid-Until", "")
	if valid > 0 {
		s.set("Valid-Until", now.UTC().Add(valid).Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	}
}

// order is the order of the known fields.
var order = []string{"origin", "label", "suite", "codename", "version", "date", "valid-until", "acquire-by-hash", "architectures", "components", "description"}

// text is the Release file.
func (s *suite) text() []byte {
	var b strings.Builder
	write := func(key string) {
		if value := s.fields[key]; value != "" {
			fmt.Fprintf(&b, "%s: %s\n", s.names[key], strings.ReplaceAll(value, "\n", "\n "))
		}
	}
	for _, key := range order {
		write(key)
	}
	for _, key := range slices.Sorted(maps.Keys(s.fields)) {
		if !slices.Contains(order, key) {
			write(key)
		}
	}
	b.WriteString("SHA256:\n")
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		fmt.Fprintf(&b, " %s %16d %s\n", s.files[name].sum, s.files[name].size, name)
	}
	return []byte(b.String())
}
