package linkage

import (
	"bufio"
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/elf"
	"modwsgi/internal/filetree"
	"modwsgi/internal/recipe"
	"modwsgi/internal/target"
	"modwsgi/packaging"
)

// Host finds libraries on a system, and the packages that own them.
type Host struct {
	Root string   // "/" is the build machine; otherwise a directory that is "/" there
	Dirs []string // searched first, absolute
	// System is the distribution if no os-release(5) names it: "debian-bullseye".
	System string

	ask func(args ...string) string // runs rpm; nil to never run it
}

// directories are where the loader looks: the directories that ld.so.conf names, then
// its defaults (ld.so(8)).
func (h Host) directories(machine string) []string {
	dirs := slices.Clone(h.Dirs)
	for _, d := range h.conf(filepath.Join(h.Root, "/etc/ld.so.conf"), 0) {
		dirs = append(dirs, filepath.Join(h.Root, d))
	}
	if data, err := os.ReadFile(filepath.Join(h.Root, "/etc/ld-musl-"+machine+".path")); err == nil {
		for d := range strings.FieldsFuncSeq(string(data), func(r rune) bool { return r == ':' || r == '\n' }) {
			dirs = append(dirs, filepath.Join(h.Root, d))
		}
	}
	debian := target.MultiarchOf(machine)
	for _, d := range []string{"/lib/" + debian, "/usr/lib/" + debian, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"} {
		dirs = append(dirs, filepath.Join(h.Root, d))
	}
	return dirs
}

// conf reads one file of the loader's configuration.
func (h Host) conf(name string, depth int) []string {
	data, err := os.ReadFile(name)
	if err != nil || depth > 4 {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			if pattern = strings.TrimSpace(pattern); !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(name), pattern)
			} else {
				pattern = filepath.Join(h.Root, pattern)
			}
			found, _ := filepath.Glob(pattern)
			for _, f := range found {
				dirs = append(dirs, h.conf(f, depth+1)...)
			}
			continue
		}
		if filepath.IsAbs(line) {
			dirs = append(dirs, line)
		}
	}
	return dirs
}

// find returns the path of a library for a CPU, "" if it is not found.
func (h Host) find(soname, machine string, class int) string {
	if strings.Contains(soname, "/") {
		return ""
	}
	for _, dir := range h.directories(machine) {
		path, err := h.real(filepath.Join(dir, soname))
		if err != nil {
			continue
		}
		facts, err := elf.Read(path)
		if err == nil && facts.Machine == machine && facts.Class == class && facts.Kind == "shared" {
			return path
		}
	}
	return ""
}

// real follows the links of a path. Those of another system's tree do not lead out of it.
func (h Host) real(path string) (string, error) {
	root := filepath.Clean(cmp.Or(h.Root, "/"))
	rest, inside := strings.CutPrefix(path, strings.TrimSuffix(root, "/")+"/")
	if !inside {
		return filepath.EvalSymlinks(path)
	}
	return filetree.Resolve(root, rest)
}

// licences are the licences of libraries that an httpd may need, as SPDX expressions,
// by the beginning of their names. A package manager's copyright file is meant for
// people.
var licences = [][2]string{
	{"libssl.so.1", "OpenSSL"},
	{"libcrypto.so.1", "OpenSSL"},
	{"libssl.", "Apache-2.0"},
	{"libcrypto.", "Apache-2.0"},
	{"libexpat.", "MIT"},
	{"libnghttp2.", "MIT"},
	{"libbrotli", "MIT"},
	{"libuuid.", "BSD-3-Clause"},
	{"libcrypt.", "LGPL-2.1-or-later"},
	{"libxml2.", "MIT"},
	{"liblua", "MIT"},
	{"libjansson.", "MIT"},
	{"libcurl.", "curl"},
	{"libz.", "Zlib"},
	{"libzstd.", "BSD-3-Clause"},
	{"liblzma.", "0BSD"},
	{"libpcre2", "BSD-3-Clause"},
	{"libapr", "Apache-2.0"},
	{"libsystemd.", "LGPL-2.1-or-later"},
	{"libsqlite3.", "blessing"},
	{"libpq.", "PostgreSQL"},
	{"libgdbm", "GPL-3.0-or-later"},
	{"libdb-", "Sleepycat"},
	{"libicu", "Unicode-3.0"},
	{"libgcc_s.", "GPL-3.0-or-later WITH GCC-exception-3.1"},
	{"libstdc++.", "GPL-3.0-or-later WITH GCC-exception-3.1"},
	{"libatomic.", "GPL-3.0-or-later WITH GCC-exception-3.1"},
	{"libgomp.", "GPL-3.0-or-later WITH GCC-exception-3.1"},
	{"libffi.", "MIT"},
	{"libbz2.", "bzip2-1.0.6"},
	{"libcom_err.", "MIT"},
	{"libgssapi_krb5.", "MIT"},
	{"libkrb5", "MIT"},
	{"libk5crypto.", "MIT"},
	{"libkeyutils.", "LGPL-2.1-or-later"},
	{"libncurses", "X11-distribute-modifications-variant"},
	{"libtinfo.", "X11-distribute-modifications-variant"},
	{"libpanel", "X11-distribute-modifications-variant"},
	{"libreadline.", "GPL-3.0-or-later"},
	{"libnsl.", "LGPL-2.1-or-later"},
	{"libtirpc.", "BSD-3-Clause"},
	{"ld-musl-", "MIT"},
	{"libc.musl-", "MIT"},
	// The parts of the GNU C library.
	{"ld-linux", "LGPL-2.1-or-later"},
	{"libc.so.6", "LGPL-2.1-or-later"},
	{"libm.so.6", "LGPL-2.1-or-later"},
	{"libmvec.", "LGPL-2.1-or-later"},
	{"libdl.", "LGPL-2.1-or-later"},
	{"librt.", "LGPL-2.1-or-later"},
	{"libutil.", "LGPL-2.1-or-later"},
	{"libpthread.", "LGPL-2.1-or-later"},
	{"libresolv.", "LGPL-2.1-or-later"},
	{"libanl.", "LGPL-2.1-or-later"},
	{"libnss_", "LGPL-2.1-or-later"},
}

// describe describes a library of the host, as far as the package manager knows it
// (that of Debian and its derivatives).
func (h Host) describe(path, soname, sum string) packaging.Component {
	c := packaging.Component{Kind: packaging.FromHost, Name: soname, SHA256: sum, File: soname}
	for _, l := range licences {
		if strings.HasPrefix(soname, l[0]) {
			c.License = l[1]
			break
		}
	}
	pkg, arch := h.debianOwner(path)
	if pkg == "" {
		if p := h.alpineOwner(path); p != nil {
			h.alpine(&c, p)
		} else {
			h.rpmOwner(&c, path)
		}
		return c
	}
	var source string
	c.Version, source = h.debianVersion(pkg, arch)
	c.Name = pkg
	if strings.HasPrefix(soname, "libssl.") || strings.HasPrefix(soname, "libcrypto.") {
		c.Support = recipe.Catalogue().SupportedUntil("openssl", c.Version)
	}
	id, distribution := h.distribution("debian")
	c.PURL = packaging.PackageURL("deb/"+id+"/"+pkg, c.Version, [][2]string{{"arch", arch}, {"distro", distribution}, {"upstream", source}}...)
	if text := filepath.Join(h.Root, "/usr/share/doc", pkg, "copyright"); isFile(text) {
		c.Texts = []string{text}
	}
	return c
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// debianOwner finds the package of a file in dpkg's lists, and its architecture. A
// file may be listed below /lib although it is below /usr/lib
// (https://wiki.debian.org/UsrMerge).
func (h Host) debianOwner(path string) (pkg, arch string) {
	rel, err := filepath.Rel(h.Root, path)
	if err != nil {
		return "", ""
	}
	names := []string{"/" + rel, "/" + strings.TrimPrefix(rel, "usr/")}
	for _, list := range filetree.Glob(h.Root, "var/lib/dpkg/info/*.list") {
		data, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, name := range names {
			if bytes.Contains(data, []byte("\n"+name+"\n")) {
				pkg, arch, _ = strings.Cut(strings.TrimSuffix(filepath.Base(list), ".list"), ":")
				return pkg, arch
			}
		}
	}
	return "", ""
}

// debianVersion reads the version of a package, with its epoch, from dpkg's status file,
// and its source package: "openssl", or "gcc-12@12.2.0-14" if that has another version, or
// "" if it has the name of the package (deb-control(5), "Source").
func (h Host) debianVersion(pkg, arch string) (version, source string) {
	f, err := os.Open(filepath.Join(h.Root, "/var/lib/dpkg/status"))
	if err != nil {
		return "", ""
	}
	defer func() { _ = f.Close() }()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	var name, of string
	match := func() bool { return name == pkg && (arch == "" || of == arch) && version != "" }
	for scan.Scan() {
		line := scan.Text()
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			if match() {
				return version, upstream(source)
			}
			name, of, version, source = "", "", "", ""
		case key == "Package":
			name = value
		case key == "Architecture":
			of = value
		case key == "Version":
			version = value
		case key == "Source":
			source = value
		}
	}
	if match() {
		return version, upstream(source)
	}
	return "", ""
}

// upstream converts a field "Source" to the qualifier of package URLs: "gcc-12 (12.2.0-14)"
// to "gcc-12@12.2.0-14".
func upstream(source string) string {
	name, version, _ := strings.Cut(source, " ")
	if version = strings.Trim(version, "() "); version != "" {
		return name + "@" + version
	}
	return name
}

// distribution returns the distribution's name in package URLs, and the value of their
// qualifier "distro": "debian-12". A release without a number (Debian's testing) has its
// code name. Without os-release(5), it is the host's System, and without that the name is
// the given one.
func (h Host) distribution(without string) (id, distribution string) {
	data, _ := os.ReadFile(filepath.Join(h.Root, "/etc/os-release"))
	r := distro.ParseRelease(string(data))
	if r.ID == "" {
		id, _, _ := strings.Cut(h.System, "-")
		return cmp.Or(id, without), h.System
	}
	if release := cmp.Or(r.Version, r.Codename); release != "" {
		return r.ID, r.ID + "-" + release
	}
	return r.ID, ""
}
