package fetch

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/distro"
)

// aptConfig is the output of "apt-config dump": values by their full name, and the lines
// themselves, some of which are passed on.
type aptConfig struct {
	values map[string]string
	lines  []string
}

func parseAptConfig(dump string) aptConfig {
	c := aptConfig{values: map[string]string{}}
	for _, line := range strings.Split(dump, "\n") {
		key, rest, ok := strings.Cut(line, " ")
		value, quoted := strings.CutPrefix(rest, `"`)
		if !ok || !quoted || !strings.HasSuffix(value, `";`) {
			continue
		}
		c.lines = append(c.lines, line)
		c.values[key] = strings.TrimSuffix(value, `";`)
	}
	return c
}

// path resolves a file name option the way apt does: a relative value is below
// the value of the option above it (apt.conf(5), "DIRECTORIES").
func (c aptConfig) path(key string) string {
	value := c.values[key]
	for key != "" && !filepath.IsAbs(value) {
		i := strings.LastIndex(key, "::")
		if i < 0 {
			return "/" + value
		}
		key = key[:i]
		value = filepath.Join(c.values[key], value)
	}
	return value
}

// acquire returns the lines about how apt reaches the network (proxies, certificates,
// timeouts), and none that it would execute or that would make it write elsewhere.
func (c aptConfig) acquire() []string {
	var out []string
	for _, line := range c.lines {
		key, _, _ := strings.Cut(line, " ")
		for _, prefix := range []string{"Acquire::http", "Acquire::ftp", "Acquire::tor", "Acquire::socks", "Acquire::Check-", "Acquire::ForceIPv", "Acquire::Max-"} {
			if strings.HasPrefix(key, prefix) {
				out = append(out, line)
				break
			}
		}
		if strings.HasPrefix(key, "APT::Architecture") {
			out = append(out, line)
		}
	}
	return out
}

// aptSource is one entry of apt's source lists (sources.list(5)).
type aptSource struct {
	uris, suites, components []string
	options                  map[string]string // deb822 field names: "Signed-By", "Trusted", …
}

// readAptSources reads all of apt's source lists. It skips unreadable lists and those
// whose names apt does not accept.
func readAptSources(c aptConfig) []aptSource {
	var out []aptSource
	if data, err := os.ReadFile(c.path("Dir::Etc::sourcelist")); err == nil {
		out = append(out, parseOneLine(string(data))...)
	}
	dir := c.path("Dir::Etc::sourceparts")
	names, err := os.ReadDir(dir)
	if err != nil {
		return out
	}
	sort.Slice(names, func(i, j int) bool { return names[i].Name() < names[j].Name() })
	for _, n := range names {
		ext := filepath.Ext(n.Name())
		if ext != ".list" && ext != ".sources" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			continue
		}
		if ext == ".list" {
			out = append(out, parseOneLine(string(data))...)
		} else {
			out = append(out, parseDeb822(string(data))...)
		}
	}
	return out
}

// optionNames maps the options of the one-line form to deb822 fields.
var optionNames = map[string]string{
	"signed-by": "Signed-By", "trusted": "Trusted", "allow-insecure": "Allow-Insecure", "allow-weak": "Allow-Weak",
	"allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure", "check-valid-until": "Check-Valid-Until",
	"check-date": "Check-Date", "by-hash": "By-Hash", "inrelease-path": "InRelease-Path", "snapshot": "Snapshot",
}

// parseOneLine reads "deb [options] URI SUITE COMPONENT…" lines.
func parseOneLine(text string) []aptSource {
	var out []aptSource
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		s := aptSource{options: map[string]string{}}
		if list, ok := strings.CutPrefix(rest, "["); ok {
			var options string
			if options, rest, ok = strings.Cut(list, "]"); !ok {
				continue
			}
			for _, o := range strings.Fields(options) {
				name, value, _ := strings.Cut(o, "=")
				if field := optionNames[strings.ToLower(name)]; field != "" {
					s.options[field] = strings.ReplaceAll(value, ",", " ")
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 3 {
			continue // a flat repository, unlike Debian's archive
		}
		s.uris, s.suites, s.components = words[:1], words[1:2], words[2:]
		out = append(out, s)
	}
	return out
}

// parseDeb822 reads the stanza form, with several values per field.
func parseDeb822(text string) []aptSource {
	var out []aptSource
	for _, fields := range stanzas(text) {
		if v := strings.ToLower(fields["enabled"]); v == "no" || v == "false" || v == "0" || v == "off" {
			continue
		}
		s := aptSource{
			uris: strings.Fields(fields["uris"]), suites: strings.Fields(fields["suites"]),
			components: strings.Fields(fields["components"]), options: map[string]string{},
		}
		if !strings.Contains(fields["types"], "deb") || len(s.uris) == 0 || len(s.suites) == 0 || len(s.components) == 0 {
			continue
		}
		for lower, field := range optionNames {
			if v, ok := fields[lower]; ok {
				s.options[field] = v
			}
		}
		out = append(out, s)
	}
	return out
}

// stanzas splits deb822 text into fields with lower-case names. Continuation
// lines keep their line breaks (a key inside Signed-By needs them).
func stanzas(text string) []map[string]string {
	var out []map[string]string
	fields, last := map[string]string{}, ""
	flush := func() {
		if len(fields) > 0 {
			out = append(out, fields)
		}
		fields, last = map[string]string{}, ""
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += "\n" + line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if ok {
				last = strings.ToLower(strings.TrimSpace(name))
				fields[last] = strings.TrimSpace(value)
			}
		}
	}
	flush()
	return out
}

// host is the distribution and its release, as os-release(5) names them. rolling means
// that it has no version: Debian's testing and unstable, which name the next release.
type host struct {
	id, codename string
	rolling      bool
}

func hostOf(r distro.Release) host { return host{r.ID, r.Codename, r.Version == ""} }

// aptIndex is one index that apt has downloaded: the name of its suite in the source
// lists, and the facts in the suite's Release file.
type aptIndex struct{ release, suite, codename, origin string }

// indexFormat is the format of "apt-get indextargets" that parseIndexes reads.
const indexFormat = "$(RELEASE)|$(SUITE)|$(CODENAME)|$(ORIGIN)"

// parseIndexes reads the indexes that apt lists, one per line. Facts are missing if apt
// has not read the Release file, as in images without /var/lib/apt/lists.
func parseIndexes(list string) []aptIndex {
	var out []aptIndex
	for line := range strings.Lines(list) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		for i, f := range fields {
			if strings.HasPrefix(f, "$(") { // apt leaves unknown names as they are
				fields[i] = ""
			}
		}
		if len(fields) == 4 {
			out = append(out, aptIndex{fields[0], fields[1], fields[2], fields[3]})
		}
	}
	return out
}

// releases returns the names of the host's release in apt's source lists. What apt has
// read from the mirror comes first: the suites of the distribution's own archive. Names
// that os-release implies are added, because apt's lists may be empty.
func (h host) releases(indexes []aptIndex) []string {
	out := []string{h.codename, debianAliases[h.codename]}
	for _, x := range indexes {
		if x.release == "" || !strings.EqualFold(x.origin, h.id) {
			continue
		}
		base, _ := splitPocket(x.release)
		codename, _ := splitPocket(x.codename)
		suite, _ := splitPocket(x.suite)
		out = append(out, base, codename, suite)
	}
	if h.id == "debian" && (h.rolling || h.codename == "") {
		out = append(out, "testing", "unstable", "sid", "forky")
	}
	return slices.DeleteFunc(out, func(name string) bool { return name == "" })
}

// debianAliases maps codenames to suites as of 2026-11. A stale entry costs a duplicate
// or a missing index, no more.
var debianAliases = map[string]string{"bookworm": "oldstable", "trixie": "stable", "forky": "testing", "sid": "unstable"}

// otherSuites are Debian's current suites besides the host's own.
var otherSuites = []string{"stable", "testing", "unstable"}

// pockets are the suites that accompany a release.
var pockets = []string{"", "-updates", "-security", "-proposed-updates", "-backports", "/updates"}

// distribution picks the entries of the host distribution's own archive, not of
// additional repositories, with only its own suites in them.
func distribution(sources []aptSource, h host, indexes []aptIndex) []aptSource {
	own := entriesOf(sources, h.releases(indexes))
	if len(own) == 0 && h.id == "debian" {
		// os-release is of another release than the source lists, as during an upgrade.
		own = entriesOf(sources, slices.Concat(slices.Collect(maps.Keys(debianAliases)), slices.Collect(maps.Values(debianAliases))))
	}
	return own
}

// entriesOf picks the entries with these releases.
func entriesOf(sources []aptSource, release []string) []aptSource {
	var out []aptSource
	for _, s := range sources {
		if !slices.Contains(s.components, "main") {
			continue
		}
		own := aptSource{options: s.options}
		for _, suite := range s.suites {
			if base, _ := splitPocket(suite); base != "" && slices.Contains(release, base) {
				own.suites = append(own.suites, suite)
			}
		}
		for _, u := range s.uris {
			if !strings.HasPrefix(u, "cdrom:") {
				own.uris = append(own.uris, strings.TrimSuffix(u, "/"))
			}
		}
		for _, c := range s.components {
			if c == "main" || c == "universe" { // Ubuntu has mod-wsgi in universe
				own.components = append(own.components, c)
			}
		}
		if len(own.suites) > 0 && len(own.uris) > 0 {
			out = append(out, own)
		}
	}
	return out
}

func splitPocket(suite string) (base, pocket string) {
	for _, p := range pockets[1:] {
		if b, ok := strings.CutSuffix(suite, p); ok {
			return b, p
		}
	}
	return suite, ""
}

// widen adds Debian's other current suites to the entries of a Debian host: the archive
// keeps several releases, and any that has the pinned file will do. Derivatives keep
// their own suites only.
func widen(sources []aptSource, h host) []aptSource {
	var out []aptSource
	for _, s := range sources {
		suites := slices.Clone(s.suites)
		for _, suite := range s.suites {
			base, pocket := splitPocket(suite)
			if h.id != "debian" || pocket == "-proposed-updates" || pocket == "-backports" {
				continue
			}
			if pocket == "/updates" {
				pocket = "-security" // renamed with Debian 11
			}
			for _, other := range otherSuites {
				more := other + pocket
				// unstable-updates and unstable-security do not exist.
				if other == debianAliases[base] || other == base || pocket != "" && other == "unstable" || slices.Contains(suites, more) {
					continue
				}
				suites = append(suites, more)
			}
		}
		s.suites = suites
		out = append(out, s)
	}
	return dedupe(out)
}

// dedupe drops suites that an earlier entry of the same address has: apt warns about
// each, and one key for both may be wrong.
func dedupe(sources []aptSource) []aptSource {
	seen := map[string]bool{}
	var out []aptSource
	for _, s := range sources {
		for _, u := range s.uris {
			one := aptSource{uris: []string{u}, components: s.components, options: s.options}
			for _, suite := range s.suites {
				if key := u + " " + suite; !seen[key] {
					seen[key] = true
					one.suites = append(one.suites, suite)
				}
			}
			if len(one.suites) > 0 {
				out = append(out, one)
			}
		}
	}
	return out
}

// encodeSources writes the entries as deb-src stanzas.
func encodeSources(sources []aptSource) string {
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "Types: deb-src\nURIs: %s\nSuites: %s\nComponents: %s\n",
			strings.Join(s.uris, " "), strings.Join(s.suites, " "), strings.Join(s.components, " "))
		names := make([]string, 0, len(s.options))
		for n := range s.options {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			fmt.Fprintf(&b, "%s: %s\n", n, s.options[n])
		}
		b.WriteString("\n")
	}
	return b.String()
}
