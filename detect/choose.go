package detect

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
)

// ErrNoHTTPD is wrapped by the error if there was nothing to choose from; a caller
// may then build an httpd. Refusing an explicitly named candidate is a different
// error.
var ErrNoHTTPD = errors.New("no usable httpd")

// Choose picks the httpd to use: a named one or none; with "bundled" the
// environment's; with "system" one outside the environment; else the first usable one.
func Choose(cands []HTTPD, req Request) (*HTTPD, error) {
	var refused []string
	for i := range cands {
		h := &cands[i]
		if !eligible(h, req.HTTPD) {
			continue
		}
		if h.Refused == "" {
			return h, nil
		}
		if h.Provenance == Explicit {
			err := fault.New(fault.Environment, hintFor(h), "cannot use the httpd that you named (%s): %s", explicitSource(h), h.Refused)
			if lacksHeaders(h) {
				return nil, distro.Needing(err, distro.HTTPDHeaders)
			}
			return nil, err
		}
		refused = append(refused, h.name()+": "+h.Refused)
	}
	hint := "let modwsgi build one with --httpd bundled"
	packages := distro.HTTPDHeaders
	if slices.ContainsFunc(cands, func(h HTTPD) bool {
		return eligible(&h, req.HTTPD) && h.Executable != "" && !ThisDisk().isFile(h.Executable)
	}) {
		packages = distro.Together(distro.HTTPD, distro.HTTPDHeaders)
	}
	if req.HTTPD == "system" {
		if c := ThisDisk().installCommand(packages); c != "" {
			hint = c + ", or " + hint
		}
	}
	err := fault.New(fault.Environment, hint, "%w found", ErrNoHTTPD)
	if len(refused) > 0 {
		err = fault.New(fault.Environment, hint, "%w (%s)", ErrNoHTTPD, strings.Join(refused, "; "))
	}
	if req.HTTPD == "system" {
		return nil, distro.Needing(err, packages)
	}
	return nil, err
}

func eligible(h *HTTPD, want string) bool {
	switch want {
	case "bundled":
		return h.Provenance == Bundled
	case "system":
		return h.Provenance != Bundled
	case "", "auto":
		return true
	default:
		return h.Provenance == Explicit
	}
}

func explicitSource(h *HTTPD) string {
	for _, e := range h.Evidence {
		if e.Fact == "candidate" {
			return e.Source + " " + e.Value
		}
	}
	return h.name()
}

func (h *HTTPD) name() string {
	for _, s := range []string{h.APXS, h.Executable} {
		if s != "" {
			return s
		}
	}
	return h.Root
}

// lacksHeaders reports whether only a package with headers is missing, as far as known.
func lacksHeaders(h *HTTPD) bool { return len(h.IncludeDirs) == 0 && h.Executable != "" }

func hintFor(h *HTTPD) string {
	if lacksHeaders(h) {
		if c := ThisDisk().installCommand(distro.HTTPDHeaders); c != "" {
			return c
		}
	}
	return "name another one with --httpd (apxs, httpd or the root of a tree), or let modwsgi build one with --httpd bundled"
}

// judge returns the reason why a candidate cannot be used with this Python, "" if it
// can.
func (f *finder) judge(h *HTTPD) string {
	if env := environmentOf(h); env != "" && !f.own(h) {
		return foreign(env)
	}
	return f.usable(h)
}

// usable is judge without the check of who owns the httpd.
func (f *finder) usable(h *HTTPD) string {
	switch {
	case h.Executable == "":
		return "it does not name its httpd program"
	case !f.disk.isFile(h.Executable):
		return "its program " + h.Executable + " is missing" + f.disk.installHint(distro.HTTPD)
	case !f.disk.isProgram(h.Executable):
		return "its program " + h.Executable + " is not executable"
	case h.Machine == "" && f.disk.notBinary(h.Executable) != "":
		return "its program " + h.Executable + " is not a binary program"
	case h.program.damaged != "":
		return "its program " + h.Executable + " is damaged: " + h.program.damaged
	case h.program.other:
		return "its program " + h.Executable + " is not an httpd: it has no core_module"
	case h.Machine != "" && f.py.Machine != "" && h.Machine != f.py.Machine:
		return fmt.Sprintf("it is for %s, the Python is for %s", h.Machine, f.py.Machine)
	case len(h.IncludeDirs) == 0:
		return f.noHeaders(h)
	case h.MMN <= 0 || !h.dated:
		return "its headers do not contain their version"
	case h.MMN < 20120211:
		return "it is httpd " + h.Version + "; 2.4 or newer is required"
	case h.APRVersion == "":
		return "the headers of apr are missing" + f.disk.installHint(distro.APR)
	case h.APUVersion == "" && strings.HasPrefix(h.APRVersion, "1."):
		return "the headers of apr-util are missing" + f.disk.installHint(distro.APRUtil)
	case !f.disk.isDir(h.ModulesDir):
		return "its modules directory " + h.ModulesDir + " is missing"
	case f.disk.windows() && !f.disk.isFile(filepath.Join(h.Root, "lib", "libhttpd.lib")):
		return "its import library lib/libhttpd.lib is missing, so modules cannot be linked"
	case len(h.MPMs) == 0:
		return "it has no multi-processing module (mod_mpm_event, mod_mpm_worker or mod_mpm_prefork)"
	}
	return h.compareMMN()
}

// compareMMN compares the ABI of the headers with that of the program. In the minor
// number, which counts additions, a module may be older than the server but not newer:
// it could use something that the server lacks (ap_mmn.h). When it loads a module, the
// server itself checks only the major number.
func (h *HTTPD) compareMMN() string {
	major, minor := h.program.mmn, h.program.mmnMinor
	switch {
	case major == 0: // a binary without symbols, or in another format
		return ""
	case major != h.MMN:
		return fmt.Sprintf("its headers have a different ABI than its program (MMN %d and %d)", h.MMN, major)
	case h.MMNMinor > minor:
		return fmt.Sprintf("its headers are newer than its program (MMN %d:%d and %d:%d)", h.MMN, h.MMNMinor, major, minor)
	}
	return ""
}

// environmentOf returns the prefix of the Python environment that contains a
// candidate, "" if none does.
func environmentOf(h *HTTPD) string {
	marker := string(filepath.Separator) + filepath.FromSlash(PackageDir)
	for _, path := range []string{h.Root, h.ModulesDir, h.Executable} {
		site, _, ok := strings.Cut(path+string(filepath.Separator), marker+string(filepath.Separator))
		if !ok {
			continue
		}
		// site is <prefix>/lib/pythonX.Y/site-packages, or <prefix>\Lib\site-packages.
		prefix := filepath.Dir(filepath.Dir(site))
		if strings.HasPrefix(filepath.Base(filepath.Dir(site)), "python") {
			prefix = filepath.Dir(prefix)
		}
		return prefix
	}
	return ""
}

// own reports whether a candidate is the one in the environment's packages.
func (f *finder) own(h *HTTPD) bool {
	for _, site := range []string{f.py.Platlib, f.py.Purelib} {
		if site != "" && f.disk.sameFile(h.Root, filepath.Join(site, filepath.FromSlash(PackageDir))) {
			return true
		}
	}
	return false
}

func (f *finder) noHeaders(h *HTTPD) string {
	reason := "its headers are missing"
	if f.disk.goos == "darwin" && strings.HasPrefix(h.Executable, "/usr/") && !strings.HasPrefix(h.Executable, "/usr/local/") {
		return reason + ": macOS includes an httpd without headers"
	}
	return reason + f.disk.installHint(distro.HTTPDHeaders)
}
