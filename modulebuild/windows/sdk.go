package windows

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/archive"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/pe"
)

// sdk is what to compile and link against: headers, and the libraries whose functions
// they declare.
type sdk struct {
	version  string // of the headers
	mmn      int    // of httpd's headers
	identity string // hash of its inputs
	include  []string
	libs     []*library
}

func (s *sdk) library(dll string) *library {
	for _, l := range s.libs {
		if strings.EqualFold(l.dll, dll) {
			return l
		}
	}
	return nil
}

// library is a DLL: its import library, and its known names. exact means that the
// names come from the library itself rather than from headers.
type library struct {
	dll    string // "libhttpd.dll"
	lib    string // path of the import library; "" until it is made
	names  []string
	data   []string // those names that are variables
	exact  bool
	source string // for messages: the source of the names
}

func (l *library) has(name string) bool {
	_, found := slices.BinarySearch(l.names, name)
	return found
}

// tree is the list of an SDK's files, for case-insensitive search.
type tree struct {
	given string // what the user named: root, or the archive unpacked to it
	root  string
	files []string // relative to root, with slashes
}

// show names a file of the tree for messages. Files of an archive are in a directory
// that no longer exists when the message is read.
func (t *tree) show(path string) string {
	if rel, err := filepath.Rel(t.root, path); err == nil && t.root != t.given {
		return filepath.ToSlash(rel) + " in " + t.given
	}
	return path
}

const (
	maxDepth = 6      // limit of directories to inspect
	maxFiles = 60_000 // limit of files in an SDK
)

// openTree makes a directory, a zip or a NuGet package (which is one) readable.
func openTree(ctx context.Context, path, into string, keep func(string) bool) (*tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "name a directory or a zip file", "inspect the SDK: %w", err)
	}
	given := path
	if !info.IsDir() {
		// Import libraries and headers compress well, so the ratio means nothing here.
		limits := archive.Limits{MaxBytes: 2 << 30, MaxFileBytes: 512 << 20, MaxFiles: maxFiles, MaxRatio: 200}
		if _, err := archive.Extract(ctx, path, into, archive.Options{Limits: limits, Keep: keep}); err != nil {
			return nil, fault.New(fault.Usage, "name a directory, a zip file or a NuGet package; download a damaged one again", "unpack the SDK: %w", err)
		}
		path = into
	}
	t := &tree{given: given, root: path}
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(path, name)
		if err != nil || rerr != nil {
			if rel == "." {
				return errors.Join(err, rerr)
			}
			return nil // an unreadable directory that is not needed
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && strings.Count(rel, "/") >= maxDepth:
			return fs.SkipDir
		case !d.IsDir() && keep(rel):
			if t.files = append(t.files, rel); len(t.files) > maxFiles {
				return fault.New(fault.Usage, "name the directory that contains include and lib", "%s is too large for an SDK", path)
			}
		}
		return nil
	})
	return t, err
}

// find returns the files with that name, ignoring case, the least deep one first.
func (t *tree) find(name string) []string {
	var out []string
	for _, f := range t.files {
		if strings.EqualFold(f[strings.LastIndex(f, "/")+1:], name) {
			out = append(out, filepath.Join(t.root, filepath.FromSlash(f)))
		}
	}
	slices.SortStableFunc(out, func(a, b string) int {
		return strings.Count(a, string(os.PathSeparator)) - strings.Count(b, string(os.PathSeparator))
	})
	return out
}

func (t *tree) first(name string) string {
	if all := t.find(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// open finds the import library and the library itself. Names come from the library if
// it exists, else from the import library. It returns nil if the SDK has neither.
func (t *tree) open(dll string) (*library, error) {
	stem := strings.TrimSuffix(dll, filepath.Ext(dll))
	l := &library{dll: dll, lib: t.first(stem + ".lib")}
	if l.lib == "" {
		l.lib = t.first("lib" + stem + ".dll.a")
	}
	if path := t.first(dll); path != "" {
		facts, err := readPE(path)
		if err != nil {
			return nil, wrongSDK("read %s: %w", t.show(path), err)
		}
		if facts.Machine != "AMD64" || !facts.DLL {
			return nil, wrongSDK("%s is for %s, not for AMD64 (x64)", t.show(path), facts.Machine)
		}
		l.names, l.exact, l.source = facts.Exports, true, path
		return l, nil
	}
	if l.lib == "" {
		return nil, nil
	}
	facts, err := pe.ReadLibrary(l.lib)
	if err != nil {
		return nil, wrongSDK("read %s: %w", t.show(l.lib), err)
	}
	if facts.Machine != "AMD64" {
		return nil, wrongSDK("%s is for %s, not for AMD64 (x64)", t.show(l.lib), facts.Machine)
	}
	l.names, l.exact, l.source = facts.Names, true, l.lib
	return l, nil
}

func wrongSDK(format string, args ...any) error {
	return fault.New(fault.Environment, "use the 64-bit (x64) SDK of that version", format, args...)
}

func readPE(path string) (*pe.Facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return pe.Read(f, info.Size())
}

// identify hashes the files that a build can depend on, by name and content.
func (s *sdk) identify() error {
	h := sha256.New()
	for i, dir := range s.include {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() || !strings.HasSuffix(strings.ToLower(d.Name()), ".h") {
				return nil
			}
			sum, err := digest.File(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(h, "%d %s %s\n", i, filepath.ToSlash(rel), sum)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the headers in %s: %w", dir, err)
		}
	}
	for _, l := range s.libs {
		_, _ = fmt.Fprintf(h, "%s %v\n", l.dll, l.exact)
		if l.lib != "" { // it is linked; without it, one is made from the names
			sum, err := digest.File(l.lib)
			if err != nil {
				return fmt.Errorf("read the import library of %s: %w", l.dll, err)
			}
			_, _ = fmt.Fprintf(h, "linked %s\n", sum)
		}
		if l.exact {
			_, _ = fmt.Fprintf(h, "%q\n", l.names)
		}
	}
	s.identity = hex.EncodeToString(h.Sum(nil))
	return nil
}

// defines reads the numbers that a header defines. Its errors contain only the
// header's name: the caller knows how to show its path.
func defines(path string, names ...string) (map[string]int, error) {
	data, err := os.ReadFile(path)
	var where *fs.PathError
	if errors.As(err, &where) {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), where.Err)
	}
	out := map[string]int{}
	for _, name := range names {
		m := regexp.MustCompile(`(?m)^[ \t]*#[ \t]*define[ \t]+` + name + `[ \t]+([0-9]+)`).FindSubmatch(data)
		if m == nil {
			return nil, fmt.Errorf("%s does not define %s", filepath.Base(path), name)
		}
		out[name], _ = strconv.Atoi(string(m[1]))
	}
	return out, nil
}

// httpdNames are the libraries of httpd that a module uses.
var httpdNames = []string{"libhttpd.dll", "libapr-1.dll", "libaprutil-1.dll"}

// describeHTTPD reads version and module magic number from the headers.
func (s *sdk) describeHTTPD(include string) error {
	release, err := defines(filepath.Join(include, "ap_release.h"), "AP_SERVER_MAJORVERSION_NUMBER", "AP_SERVER_MINORVERSION_NUMBER", "AP_SERVER_PATCHLEVEL_NUMBER")
	if err != nil {
		return err
	}
	mmn, err := defines(filepath.Join(include, "ap_mmn.h"), "MODULE_MAGIC_NUMBER_MAJOR")
	if err != nil {
		return err
	}
	s.version = fmt.Sprintf("%d.%d.%d", release["AP_SERVER_MAJORVERSION_NUMBER"], release["AP_SERVER_MINORVERSION_NUMBER"], release["AP_SERVER_PATCHLEVEL_NUMBER"])
	s.mmn = mmn["MODULE_MAGIC_NUMBER_MAJOR"]
	if !strings.HasPrefix(s.version, "2.4.") {
		return fault.New(fault.Environment, "use an SDK of Apache 2.4", "the headers are of httpd %s", s.version)
	}
	return nil
}

// httpdSDK reads headers and libraries from the user's directory or zip.
func httpdSDK(ctx context.Context, path, into string) (*sdk, error) {
	t, err := openTree(ctx, path, into, func(name string) bool {
		n := strings.ToLower(name)
		return strings.HasSuffix(n, ".h") || strings.HasSuffix(n, ".lib") || strings.HasSuffix(n, ".dll")
	})
	if err != nil {
		return nil, err
	}
	header := t.first("httpd.h")
	if header == "" {
		return nil, fault.New(fault.Usage, "name the archive of Apache Lounge or a directory such as C:\\Apache24, with include and lib", "%s has no httpd.h", path)
	}
	s := &sdk{include: []string{filepath.Dir(header)}}
	if err := s.describeHTTPD(s.include[0]); err != nil {
		return nil, fault.New(fault.Environment, "use the complete SDK of Apache 2.4", "%s: %w", path, err)
	}
	for _, name := range []string{"apr.h", "apu.h", "ap_config_layout.h", "os.h"} {
		there := t.first(name)
		if there == "" {
			return nil, fault.New(fault.Usage, "use the complete archive, with the headers of APR", "%s has no %s", path, name)
		}
		if dir := filepath.Dir(there); !slices.Contains(s.include, dir) {
			s.include = append(s.include, dir)
		}
	}
	for _, dll := range httpdNames {
		l, err := t.open(dll)
		if err != nil {
			return nil, err
		}
		if l == nil {
			l = &library{dll: dll, source: "the headers"}
		}
		s.libs = append(s.libs, l)
	}
	return s, nil
}

// pythonSDK reads the headers and the library of a Python from the user's SDK: an
// installation, a NuGet package, an embeddable zip to which headers were added, or a
// source tree. It may also have the headers of an installation on another system,
// which are the same except for pyconfig.h.
func pythonSDK(ctx context.Context, path, into, minor string) (*sdk, error) {
	dll := dllName(minor)
	t, err := openTree(ctx, path, into, func(name string) bool {
		n := strings.ToLower(name)
		return strings.HasSuffix(n, ".h") || strings.HasSuffix(n, "pyconfig.h.in") || strings.HasSuffix(n, ".lib") || strings.HasSuffix(n, ".dll.a") || strings.HasSuffix(n, ".dll")
	})
	if err != nil {
		return nil, err
	}
	var seen []string
	var unread error
	for _, header := range t.find("Python.h") {
		include := filepath.Dir(header)
		version, err := pythonVersion(include)
		if err != nil {
			if unread == nil {
				unread = fmt.Errorf("cannot use %s: %w", t.show(header), err)
			}
			continue
		}
		if !strings.HasPrefix(version+".", minor+".") {
			seen = append(seen, version)
			continue
		}
		s := &sdk{version: version, include: []string{include}}
		if err := s.addConfig(t, include, into+"-config"); err != nil {
			return nil, err
		}
		l, err := t.open(dll)
		if err != nil {
			return nil, err
		}
		if l == nil {
			if threaded := t.first(strings.TrimSuffix(dll, ".dll") + "t.dll"); threaded != "" {
				return nil, fault.New(fault.Environment, "use the default build of that version", "%s is a free-threaded Python, which mod_wsgi does not support", t.show(threaded))
			}
			l = &library{dll: dll, source: "the headers"}
		}
		s.libs = []*library{l}
		return s, nil
	}
	if len(seen) > 0 {
		slices.Sort(seen)
		return nil, fault.New(fault.Usage, "name the SDK of Python "+minor+" with --python-sdk", "%s has headers of Python %s, not of %s", path, strings.Join(slices.Compact(seen), " and "), minor)
	}
	if unread != nil {
		return nil, fault.New(fault.Usage, "use the complete headers of Python "+minor, "%w", unread)
	}
	return nil, fault.New(fault.Usage, "name an installation, a NuGet package or a directory with the headers; the embeddable zip alone and virtual environments have none",
		"%s has no Python.h", path)
}

// addConfig ensures that pyconfig.h is the one for Windows. Python.h prefers the one
// next to it, so headers with another system's are copied without it.
func (s *sdk) addConfig(t *tree, include, into string) error {
	beside := filepath.Join(include, "pyconfig.h")
	config := []byte(pyconfig)
	candidates := append([]string{beside}, t.find("pyconfig.h")...)
	for _, c := range append(candidates, t.find("pyconfig.h.in")...) {
		data, err := os.ReadFile(c)
		if err != nil || !bytes.Contains(data, []byte("#define MS_WINDOWS")) {
			continue // another system's, or autoconf's template
		}
		if c == beside {
			return nil
		}
		config = data
		break
	}
	if err := copyHeaders(include, into); err != nil {
		return fmt.Errorf("copy the headers in %s: %w", include, err)
	}
	s.include = []string{into}
	return os.WriteFile(filepath.Join(into, "pyconfig.h"), config, 0o644)
}

// copyHeaders copies the headers of a Python except pyconfig.h.
func copyHeaders(from, to string) error {
	all, err := headersBelow(from)
	if err != nil {
		return err
	}
	for _, path := range all {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if rel == "pyconfig.h" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(to, 0o755)
}

func pythonVersion(include string) (string, error) {
	v, err := defines(filepath.Join(include, "patchlevel.h"), "PY_MAJOR_VERSION", "PY_MINOR_VERSION", "PY_MICRO_VERSION")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d.%d", v["PY_MAJOR_VERSION"], v["PY_MINOR_VERSION"], v["PY_MICRO_VERSION"]), nil
}
