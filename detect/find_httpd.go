package detect

import (
	"context"
	"path/filepath"
	"strings"

	"modwsgi/internal/run"
)

// systemDirs are the directories where systems install apxs and httpd outside PATH.
var systemDirs = []string{
	"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
	"/usr/local/apache2/bin", "/opt/homebrew/bin", "/usr/local/httpd/bin",
}

// FindHTTPDs lists every httpd that could be used with py, highest priority first:
// explicitly named ones (--httpd, APXS, HTTPD, MOD_WSGI_APACHE_ROOTDIR), the
// environment's, the system's. Refused is the reason why one cannot be used. The error
// is the context's.
func FindHTTPDs(ctx context.Context, r *run.Runner, py *Python, req Request) ([]HTTPD, error) {
	f := &finder{ctx: ctx, run: r, py: py, req: req, disk: ThisDisk()}
	f.explicit()
	f.bundled()
	f.system()
	if f.disk.windows() {
		f.windowsTrees(thisRegistry())
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return f.found, nil
}

// add judges a candidate and keeps it, unless the same httpd is already known from a
// source with higher priority.
func (f *finder) add(h HTTPD) {
	if h.Refused == "" {
		h.Refused = f.judge(&h)
	}
	for _, old := range f.found {
		if old.Executable != "" && f.disk.sameFile(old.Executable, h.Executable) && (old.Refused == "" || h.Refused != "") {
			return
		}
	}
	f.found = append(f.found, h)
}

func (f *finder) explicit() {
	if path := f.req.HTTPD; isPath(path) {
		h := f.fromPath(f.req.abs(f.disk, path))
		h.note("candidate", "--httpd", path)
		f.add(h)
		return
	}
	for _, name := range []string{"APXS", "HTTPD", "MOD_WSGI_APACHE_ROOTDIR"} {
		value := f.req.env(name)
		if value == "" {
			continue
		}
		path := value
		if name != "MOD_WSGI_APACHE_ROOTDIR" && !strings.ContainsRune(value, filepath.Separator) {
			path = f.lookPath(value)
		}
		h := HTTPD{Provenance: Explicit, Root: value, Refused: "no program " + value + " found on PATH or in the system's directories"}
		if path != "" {
			h = f.fromPath(f.req.abs(f.disk, path))
		}
		h.note("candidate", name, value)
		f.add(h)
	}
}

// isPath reports whether --httpd is a path rather than a way to choose.
func isPath(s string) bool { return s != "" && s != "auto" && s != "bundled" && s != "system" }

func (f *finder) bundled() {
	for _, site := range unique(f.py.Platlib, f.py.Purelib) {
		root := filepath.Join(site, filepath.FromSlash(PackageDir))
		if !f.disk.isDir(root) {
			continue
		}
		h := fromTree(f.disk, root)
		h.Provenance = Bundled
		h.note("candidate", root, "in the environment's packages")
		f.add(h)
	}
}

func (f *finder) system() {
	names := []string{"apxs", "apxs2", "apxs-event", "apxs-worker", "apxs-prefork"}
	asked := map[string]bool{} // Debian's apxs2 is a link to apxs
	for _, dir := range f.searchDirs() {
		if own := filepath.Join(dir, "mod_wsgi-apxs"); f.disk.isFile(own) && !f.disk.within(own, f.py.Prefix) && f.disk.isEnvironment(dir) {
			f.found = append(f.found, HTTPD{Provenance: System, APXS: own, Refused: foreign(filepath.Dir(dir))})
		}
		for _, name := range names {
			if path := filepath.Join(dir, name); f.disk.isExecutable(path) && !asked[f.disk.resolved(path)] {
				asked[f.disk.resolved(path)] = true
				h := f.fromAPXS(path)
				h.Provenance = System
				h.note("candidate", path, "in a directory of programs")
				f.add(h)
			}
		}
	}
	for _, dir := range f.searchDirs() {
		for _, name := range []string{"apache2", "httpd", "httpd2", "httpd.exe"} {
			if path := filepath.Join(dir, name); f.disk.isExecutable(path) {
				h := f.fromExecutable(path)
				h.Provenance = System
				h.note("candidate", path, "in a directory of programs")
				f.add(h)
			}
		}
	}
}

// searchDirs lists PATH and the system's directories. It keeps directories of another
// Python environment, so that an httpd found there is refused by name.
func (f *finder) searchDirs() []string {
	var dirs []string
	seen := map[string]bool{}
	for _, dir := range append(filepath.SplitList(f.req.env("PATH")), systemDirs...) {
		real, err := f.disk.evalLinks(dir)
		if err == nil && filepath.IsAbs(dir) && !seen[real] {
			seen[real] = true
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	return dirs
}

func (f *finder) lookPath(name string) string {
	for _, dir := range f.searchDirs() {
		if path := filepath.Join(dir, name); f.disk.isExecutable(path) {
			return path
		}
	}
	return ""
}

// fromPath inspects a path that the user named: a tree, an apxs, or an executable.
func (f *finder) fromPath(path string) HTTPD {
	h := HTTPD{Provenance: Explicit}
	switch {
	case f.disk.isDir(path):
		h = f.fromRoot(path)
	case !f.disk.exists(path):
		h.Root, h.Refused = path, path+" does not exist"
	case !f.disk.isExecutable(path):
		h.Root, h.Refused = path, path+" is neither a directory nor a program"
	case strings.Contains(filepath.Base(path), "apxs"):
		h = f.fromAPXS(path)
	default:
		h = f.fromExecutable(path)
	}
	h.Provenance = Explicit
	return h
}

// fromRoot inspects a directory: a self-contained tree, a Python environment with one
// in it, or a prefix such as /usr whose apxs must be queried.
func (f *finder) fromRoot(root string) HTTPD {
	if f.disk.isFile(filepath.Join(root, "build", "config_vars.mk")) {
		return fromTree(f.disk, root)
	}
	if tree := f.disk.treeBelow(root); tree != "" {
		return fromTree(f.disk, tree)
	}
	for _, bin := range []string{"bin", "sbin"} {
		for _, name := range []string{"apxs", "apxs2"} {
			if path := filepath.Join(root, bin, name); f.disk.isExecutable(path) {
				return f.fromAPXS(path)
			}
		}
	}
	if base := filepath.Base(root); base == "bin" || base == "sbin" {
		return f.fromRoot(filepath.Dir(root))
	}
	h := fromTree(f.disk, root)
	if h.Executable == "" && h.Refused == "" {
		h.Refused = root + " contains no httpd"
	}
	return h
}

// fromExecutable inspects an httpd by its program: through its apxs, else as a tree.
// Without headers, modules cannot be built for it.
func (f *finder) fromExecutable(path string) HTTPD {
	for _, exe := range unique(path, f.disk.resolved(path)) {
		prefix := filepath.Dir(filepath.Dir(exe))
		for _, bin := range []string{filepath.Dir(exe), filepath.Join(prefix, "bin"), filepath.Join(prefix, "sbin")} {
			for _, name := range []string{"apxs", "apxs2"} {
				tool := filepath.Join(bin, name)
				if !f.disk.isExecutable(tool) {
					continue
				}
				if h := f.fromAPXS(tool); f.disk.sameFile(h.Executable, path) {
					return h
				}
			}
		}
		if h := fromTree(f.disk, prefix); h.Refused == "" && f.disk.sameFile(h.Executable, path) {
			return h
		}
	}
	h := HTTPD{Root: filepath.Dir(filepath.Dir(path)), Executable: path}
	h.readExecutable(f.disk)
	h.Refused = f.noHeaders(&h)
	if h.Machine != "" && h.program.mmn == 0 {
		h.Refused = path + " is not an httpd: it has no core_module"
	}
	return h
}

// fromAPXS inspects an httpd through its apxs. An apxs in a Python environment is a
// Python program. It is not run; the tree next to it is read instead.
func (f *finder) fromAPXS(path string) HTTPD {
	if strings.HasPrefix(filepath.Base(path), "mod_wsgi-apxs") || f.disk.exists(filepath.Join(filepath.Dir(filepath.Dir(path)), cfgName)) {
		root := f.disk.treeBeside(path)
		if root == "" {
			return HTTPD{APXS: path, Refused: "no httpd found to which " + path + " could belong"}
		}
		h := fromTree(f.disk, root)
		h.APXS = path
		return h
	}
	vars, err := f.askAPXS(path)
	if err != nil {
		h := HTTPD{APXS: path, Refused: err.Error()}
		if sbin, prog := vars["sbindir"], vars["progname"]; sbin != "" && prog != "" {
			h.Executable = filepath.Join(vars.Expand(sbin), vars.Expand(prog))
		}
		return h
	}
	h := HTTPD{Root: prefixOf(vars), APXS: path}
	h.read(f.disk, vars, path)
	return h
}

// within reports whether path is below dir, as written or with links resolved.
func (d *Disk) within(path, dir string) bool {
	for _, p := range []string{path, filepath.Join(filepath.Dir(d.resolved(path)), filepath.Base(path))} {
		for _, above := range []string{dir, d.resolved(dir)} {
			if rel, err := filepath.Rel(above, p); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
				return true
			}
		}
	}
	return false
}

func (f *finder) addSystem(h HTTPD, p place) {
	h.Provenance = System
	h.note("candidate", p.path, p.source)
	f.add(h)
}
