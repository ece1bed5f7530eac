package oci

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
	"modwsgi/packaging/linkage"
)

// closure computes the system's libraries that an image without a base needs.
type closure struct {
	m         *maker
	image     *image
	inside    []entry          // everything that is in the image in any case
	libraries map[string]found // by the requested name
	interp    string           // of the programs
	problems  []string
}

// found is a library of a host.
type found struct {
	host linkage.Host
	path string // with links resolved
}

// dir is the library's directory on the system whose root directory the host's is.
func (f found) dir() string {
	rel, err := filepath.Rel(cmp.Or(f.host.Root, "/"), filepath.Dir(f.path))
	if err != nil {
		return filepath.Dir(f.path)
	}
	return path.Join("/", filepath.ToSlash(rel))
}

// find looks for a library in all hosts of the image.
func (c *closure) find(name string, class int) (found, bool) {
	for _, h := range c.m.hosts(c.image) {
		if at := h.Find(name, c.image.machine, class); at != "" {
			return found{h, at}, true
		}
	}
	return found{}, false
}

// loadedLater are libraries that the C library loads on demand: to resolve host names,
// to look up accounts (if they are still separate files), and to end a thread.
var loadedLater = []string{"libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libgcc_s.so.1"}

// add adds what the files of a layer need.
func (c *closure) add(all []entry) error {
	c.inside = append(c.inside, all...)
	for _, e := range all {
		if e.source == "" || !elf.Is(e.source) {
			continue
		}
		facts, err := elf.Read(e.source)
		if err != nil {
			return fault.New(fault.Environment, "install it again", "inspect a binary: %w", err)
		}
		if facts.Machine != c.image.machine {
			c.problems = append(c.problems, fmt.Sprintf("%s is for %s", e.source, facts.Machine))
			continue
		}
		c.facts(e, facts)
	}
	return nil
}

func (c *closure) facts(e entry, facts *elf.Facts) {
	if facts.Interp != "" {
		c.interp = facts.Interp
	}
	for _, need := range facts.Needed {
		if !beside(c.inside, e, facts, need) {
			c.need(need, facts.Class, e.source)
		}
	}
}

// need finds a library, and the libraries that it needs itself.
func (c *closure) need(name string, class int, by string) {
	if _, there := c.libraries[name]; there || strings.HasPrefix(name, "libpython") || strings.HasPrefix(name, "linux-vdso") {
		return
	}
	lib, ok := c.find(name, class)
	if !ok {
		if by != "" && !byName(c.inside, name) {
			c.m.warn("%s needs %s, which its system also lacks: it will not load in the image", by, name)
		}
		return
	}
	c.libraries[name] = lib
	facts, err := elf.Read(lib.path)
	if err != nil {
		c.problems = append(c.problems, err.Error())
		return
	}
	for _, n := range facts.Needed {
		c.need(n, class, lib.path)
	}
}

// finish returns the bottom layer: the libraries, the loader, accounts, and the
// directories that programs expect.
func (c *closure) finish(tree []entry) ([]entry, error) {
	if err := c.add(tree); err != nil {
		return nil, err
	}
	for _, name := range loadedLater {
		c.need(name, c.image.class(), "")
	}
	if len(c.problems) > 0 {
		return nil, fault.New(fault.Environment, "repair it, or name a base with --base", "cannot make an image: %s", strings.Join(c.problems, "; "))
	}
	libc := c.libraries["libc.so.6"]
	for name, lib := range c.libraries {
		if strings.HasPrefix(name, "libc.musl-") || name == "libc.so" {
			libc = lib
		}
	}
	if libc.path == "" || c.interp == "" {
		return nil, fault.New(fault.Environment, "name a base with --base", "the C library of the system was not found")
	}
	var all []entry
	for _, name := range slices.Sorted(keys(c.libraries)) {
		c.describe(c.libraries[name], name)
		if name != path.Base(c.interp) { // which has a fixed path
			all = append(all, fileEntry(path.Join(libc.dir(), name), c.libraries[name].path, 0o755))
		}
	}
	loader, err := filetree.Resolve(libc.host.Root, c.interp) // that of the libc
	if err != nil {
		return nil, fault.New(fault.Environment, "name a base with --base", "the loader %s: %w", c.interp, err)
	}
	all = append(all, fileEntry(c.interp, loader, 0o755))
	more, err := c.m.system(libc.host)
	return append(all, more...), err
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// describe adds a library to the bill of materials, with its licence.
func (c *closure) describe(lib found, name string) {
	sum, err := fileSum(lib.path)
	if err != nil {
		return
	}
	component := lib.host.Describe(lib.path, name, sum)
	if err := c.m.libraryTexts(c.image, component); err == nil {
		c.image.components = append(c.image.components, component)
	}
}

// system lists the files of a root directory that programs expect to find.
func (m *maker) system(h linkage.Host) ([]entry, error) {
	uid, gid, err := m.o.ids()
	if err != nil {
		return nil, err
	}
	passwd := fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n", uid, gid)
	group := fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", gid)
	home := dirEntry("home/nonroot", 0o700)
	home.uid, home.gid = uid, gid
	all := []entry{
		dataEntry("etc/passwd", []byte(passwd), 0o644), dataEntry("etc/group", []byte(group), 0o644),
		dataEntry("etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nhosts: files dns\n"), 0o644),
		dirEntry("tmp", 0o777|fs.ModeSticky), dirEntry("var/tmp", 0o777|fs.ModeSticky), dirEntry("run", 0o755), dirEntry("root", 0o700), home,
		dirEntry("proc", 0o555), dirEntry("sys", 0o555), dirEntry("dev", 0o755),
	}
	if locale := filepath.Join(h.Root, "/usr/lib/locale/C.utf8"); isDir(locale) {
		c := collector{root: locale, host: h.Root, to: "/usr/lib/locale/C.utf8", follow: true}
		found, err := c.collect("repair the system's locales")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if m.o.CACerts != "" {
		data, err := owned.ReadFile(m.o.CACerts, maxAuthorities)
		if err != nil {
			return nil, fault.New(fault.Usage, fault.HintOr(err, "name a file with certificates in PEM"), "read --ca-certificates: %w", err)
		}
		if !strings.Contains(string(data), "-----BEGIN CERTIFICATE-----") {
			return nil, fault.New(fault.Usage, "name a file with certificates in PEM", "--ca-certificates: %s contains no certificate", m.o.CACerts)
		}
		all = append(all, dataEntry(caFile, data, 0o644))
	}
	return all, nil
}

// maxAuthorities is the size in bytes of the largest file of authorities that is read.
const maxAuthorities = 16 << 20

// caFile is where an image without a base has its certificates.
const caFile = "/etc/ssl/certs/ca-certificates.crt"

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
