package linuxpkg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/filetree"
)

// dpkg reads the records of the package manager of Debian and its derivatives on one
// host: which package owns a file, and from which version on a library has which
// symbol (deb-symbols(5), deb-shlibs(5)).
type dpkg struct {
	root  string // directory that is "/" there
	owner map[string]string
}

func (d *dpkg) info() string { return filepath.Join(d.root, "var/lib/dpkg/info") }

// recordsOf reads the records about files, by the root directory of each.
func recordsOf(files []place) (map[string]*dpkg, error) {
	names := map[string][]string{}
	for _, f := range files {
		names[f.root] = append(names[f.root], f.path)
	}
	hosts := map[string]*dpkg{}
	for root, files := range names {
		hosts[root] = &dpkg{root: root}
		if err := hosts[root].packages(files); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// packages finds the packages of files in one pass over dpkg's lists. owners returns
// those of one file. A package is "name" or "name:arch".
func (d *dpkg) packages(files []string) error {
	d.owner = map[string]string{}
	wanted := map[string]string{} // possible listed path -> requested path
	for _, f := range files {
		for _, name := range listed(f) {
			wanted[name] = f
		}
	}
	for _, list := range filetree.Glob(d.info(), "*.list") {
		data, err := os.ReadFile(list)
		if err != nil {
			return fmt.Errorf("read the records of dpkg: %w", err)
		}
		for line := range bytes.Lines(data) {
			if f, ok := wanted[string(bytes.TrimRight(line, "\n"))]; ok {
				d.owner[f] = strings.TrimSuffix(filepath.Base(list), ".list")
			}
		}
	}
	return nil
}

// listed returns the paths under which a file may be listed. It has several since /lib
// is a link to /usr/lib (https://wiki.debian.org/UsrMerge).
func listed(file string) []string {
	if rest, ok := strings.CutPrefix(file, "/usr"); ok {
		return []string{file, rest}
	}
	return []string{file, "/usr" + file}
}

// nameOf returns a package's name without its architecture.
func nameOf(pkg string) string {
	name, _, _ := strings.Cut(pkg, ":")
	return name
}

// need is the minimum version of one package; "" is any version.
type debNeed struct{ pkg, version string }

// library returns the packages that a file needs for one library. The library file's
// name identifies its package.
func (d *dpkg) library(soname, file string, imports []elf.Import, versions []string) ([]debNeed, string, error) {
	pkg := d.owner[file]
	if pkg == "" {
		return nil, "", nil
	}
	needs, extra, err := d.bySymbols(pkg, soname, imports, versions)
	if !errors.Is(err, fs.ErrNotExist) {
		return needs, extra, err
	}
	needs, extra, err = d.byShlibs(pkg, soname)
	if !errors.Is(err, fs.ErrNotExist) {
		return needs, extra, err
	}
	return []debNeed{{pkg: nameOf(pkg)}}, "", nil
}

// bySymbols takes the highest of the versions that introduced the symbols.
func (d *dpkg) bySymbols(pkg, soname string, imports []elf.Import, versions []string) ([]debNeed, string, error) {
	f, err := os.Open(filepath.Join(d.info(), pkg+".symbols"))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }()
	wanted := map[string]bool{}
	for _, i := range imports {
		if i.Library == soname || i.Library == "" {
			wanted[i.Name] = true
		}
	}
	var templates []string
	var highest []string
	inside := false
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := scan.Text()
		switch {
		case line == "" || line[0] == '#' || line[0] == '*':
		case line[0] == '|':
			if inside {
				templates = append(templates, strings.TrimSpace(line[1:]))
			}
		case line[0] != ' ':
			if inside {
				return needsOf(templates, highest)
			}
			name, template, _ := strings.Cut(line, " ")
			if inside = name == soname; inside {
				templates = []string{template}
			}
		case inside:
			symbol(strings.Fields(line), wanted, versions, len(templates), &highest)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, "", err
	}
	if !inside {
		return nil, "", fmt.Errorf("%s: %w", soname, fs.ErrNotExist)
	}
	return needsOf(templates, highest)
}

// symbol takes one line of a symbols file: "name@VERSION since [template]".
func symbol(fields []string, wanted map[string]bool, versions []string, templates int, highest *[]string) {
	if len(fields) < 2 {
		return
	}
	name, version, _ := strings.Cut(fields[0], "@")
	if !wanted[name] || version != "Base" && !slices.Contains(versions, version) {
		return
	}
	number := 0
	if len(fields) > 2 {
		if _, err := fmt.Sscanf(fields[2], "%d", &number); err != nil || number >= templates {
			return
		}
	}
	for len(*highest) < templates {
		*highest = append(*highest, "")
	}
	if old := (*highest)[number]; old == "" || compareDebian(fields[1], old) > 0 {
		(*highest)[number] = fields[1]
	}
}

// needsOf fills in the templates that the symbols use, or the first template if they
// use none. A dependency that is more than a package with a version is returned
// verbatim.
func needsOf(templates, highest []string) ([]debNeed, string, error) {
	used := false
	for _, h := range highest {
		used = used || h != ""
	}
	if !used {
		highest = []string{"0"}
	}
	var needs []debNeed
	var extra []string
	for i, version := range highest {
		if version == "" {
			continue
		}
		template := templates[i]
		if pkg, ok := strings.CutSuffix(template, " #MINVER#"); ok && !strings.ContainsAny(pkg, " |,") {
			if version == "0" {
				version = ""
			}
			needs = append(needs, debNeed{pkg, version})
			continue
		}
		since := "(>= " + version + ")"
		if version == "0" {
			since = ""
		}
		extra = append(extra, strings.TrimSpace(strings.ReplaceAll(template, "#MINVER#", since)))
	}
	return needs, strings.Join(extra, ", "), nil
}

// byShlibs takes the line of a library: "name version dependency".
func (d *dpkg) byShlibs(pkg, soname string) ([]debNeed, string, error) {
	data, err := os.ReadFile(filepath.Join(d.info(), pkg+".shlibs"))
	if err != nil {
		return nil, "", err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasSuffix(fields[0], ":") {
			continue
		}
		if fields[0]+".so."+fields[1] == soname || fields[0]+"-"+fields[1]+".so" == soname {
			return nil, strings.Join(fields[2:], " "), nil
		}
	}
	return nil, "", fmt.Errorf("%s: %w", soname, fs.ErrNotExist)
}

// compareDebian orders versions as dpkg does (Debian Policy 5.6.12): negative,
// zero or positive.
func compareDebian(a, b string) int {
	epoch := func(v string) (string, string) {
		if e, rest, ok := strings.Cut(v, ":"); ok {
			return e, rest
		}
		return "0", v
	}
	ea, a := epoch(a)
	eb, b := epoch(b)
	if c := compareParts(ea, eb); c != 0 {
		return c
	}
	revision := func(v string) (string, string) {
		if i := strings.LastIndexByte(v, '-'); i >= 0 {
			return v[:i], v[i+1:]
		}
		return v, "0"
	}
	ua, ra := revision(a)
	ub, rb := revision(b)
	if c := compareParts(ua, ub); c != 0 {
		return c
	}
	return compareParts(ra, rb)
}

// compareParts alternates between comparing non-digits, where "~" sorts before the end
// and letters sort before other characters, and numbers.
func compareParts(a, b string) int {
	digit := func(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }
	order := func(s string) int {
		switch {
		case s == "" || digit(s):
			return 0
		case s[0] == '~':
			return -1
		case s[0] >= 'A' && s[0] <= 'Z' || s[0] >= 'a' && s[0] <= 'z':
			return int(s[0])
		}
		return int(s[0]) + 256
	}
	number := func(s string) (string, string) {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(s)
		}
		return strings.TrimLeft(s[:end], "0"), s[end:]
	}
	for a != "" || b != "" {
		for a != "" && !digit(a) || b != "" && !digit(b) {
			if x, y := order(a), order(b); x != y {
				return x - y
			}
			a, b = a[1:], b[1:]
		}
		var na, nb string
		na, a = number(a)
		nb, b = number(b)
		if len(na) != len(nb) {
			return len(na) - len(nb)
		}
		if c := strings.Compare(na, nb); c != 0 {
			return c
		}
	}
	return 0
}
