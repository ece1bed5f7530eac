package httpdbuild

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/apxs"
	"modwsgi/internal/filetree"
	"modwsgi/internal/makefile"
	"modwsgi/internal/relocate"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// programs are the support programs in the tree. suexec and the Perl and shell scripts
// are left out because they contain absolute paths.
var programs = []string{"ab", "checkgid", "fcgistarter", "htcacheclean", "htdbm", "htdigest", "htpasswd", "httxt2dbm", "logresolve", "rotatelogs"}

// stageTree copies what was built to its destination. It does not use "make install",
// whose libtool calls take a third of the compilation time, and which would link
// everything again for an absolute run path.
func (b *builder) stageTree(ctx context.Context, log *steps.Log) error {
	for _, do := range []func() error{b.stageBinaries, b.stageModules, b.stageData} {
		if err := do(); err != nil {
			return err
		}
	}
	if b.Driver == Make {
		if err := b.stageForModules(ctx, log); err != nil {
			return err
		}
	}
	count, err := relocate.Tree(b.stage, "$ORIGIN/../lib", b.treeInRunPath)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(log, "%d run paths made relative\n", count)
	return err
}

// stageForModules copies what modules are compiled with. All of it exists once httpd is
// configured.
func (b *builder) stageForModules(ctx context.Context, log *steps.Log) error {
	if err := b.stageHeaders(); err != nil {
		return err
	}
	if err := b.stageHTTPDHeaders(ctx, log); err != nil {
		return err
	}
	return b.stageConfigVars()
}

// stageAhead does this before httpd is compiled.
func (b *builder) stageAhead(ctx context.Context, log *steps.Log) error {
	err := b.stageForModules(ctx, log)
	if err == nil && b.headers != nil {
		close(b.headers)
	}
	return err
}

func (b *builder) treeInRunPath(element string) bool {
	return element == Placeholder+"/lib" || element == b.Work || strings.HasPrefix(element, b.Work+"/")
}

func (b *builder) stageBinaries() error {
	bin, lib := filepath.Join(b.stage, "bin"), filepath.Join(b.stage, "lib")
	httpd := b.dir("httpd")
	if err := copyFile(filepath.Join(httpd, ".libs/httpd"), filepath.Join(bin, "httpd"), 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		from := filepath.Join(httpd, "support/.libs", p)
		if _, err := os.Stat(from); err != nil {
			from = filepath.Join(httpd, "support", p) // linked without a shared library of this build
		}
		if err := copyFile(from, filepath.Join(bin, p), 0o755); err != nil {
			return err
		}
	}
	for name, from := range map[string]string{
		"libapr-1": b.dir("apr") + "/.libs", "libaprutil-1": b.dir("apr-util") + "/.libs", "libpcre2-8": filepath.Join(b.deps(), "lib"),
	} {
		if err := copySharedLibrary(from, name, lib, false); err != nil {
			return err
		}
	}
	for _, l := range b.bundled() {
		for _, name := range l.shared {
			if err := copySharedLibrary(filepath.Join(b.deps(), "lib"), name, lib, false); err != nil {
				return err
			}
		}
	}
	// -lapr-1 finds this when a third-party module is linked: a linker script, because
	// wheels contain no symbolic links.
	for _, name := range []string{"libapr-1", "libaprutil-1"} {
		if err := writeFile(filepath.Join(lib, name+".so"), fmt.Appendf(nil, "INPUT(%s.so.0)\n", name), 0o644); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(bin, "apr-1-config"), []byte(apxs.APRConfig), 0o755); err != nil {
		return err
	}
	return writeFile(filepath.Join(bin, "apu-1-config"), []byte(apxs.APUConfig), 0o755)
}

func (b *builder) stageModules() error {
	for _, top := range []string{"modules", "server/mpm"} {
		err := filepath.WalkDir(filepath.Join(b.dir("httpd"), top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".so") || filepath.Base(filepath.Dir(path)) != ".libs" {
				return err
			}
			return copyFile(path, filepath.Join(b.stage, "modules", d.Name()), 0o755)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stageHeaders copies the public headers of APR and APR-util into the directory of
// httpd's headers. Modules built with setuptools then need only one directory, whose
// path may contain a blank.
func (b *builder) stageHeaders() error {
	for name, patterns := range map[string][]string{"apr": {"apr.h", "apr_*.h"}, "apr-util": {"apr_*.h", "apu*.h"}} {
		for _, pattern := range patterns {
			for _, m := range filetree.Glob(b.dir(name), "include/"+pattern) {
				if err := copyFile(m, filepath.Join(b.stage, "include", filepath.Base(m)), 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stageHTTPDHeaders copies the headers that httpd's makefile calls public. make lists
// them; only the copying is done here, because make would run libtool for each.
func (b *builder) stageHTTPDHeaders(ctx context.Context, log *steps.Log) error {
	from, patterns := b.dir("httpd"), []string(nil)
	if b.Driver == Make {
		dest := filepath.Join(b.Work, "headers")
		if err := b.toolAs(ctx, log, timeline.Tool, "make install-include", nil, from, "make", "install-include", "DESTDIR="+dest, "INSTALL_DATA=cp"); err != nil {
			return err
		}
		from, patterns = filepath.Join(dest, Placeholder, "include"), []string{"*.h"}
	} else {
		f, err := makefile.Read(filepath.Join(from, "Makefile"), nil)
		if err != nil {
			return err
		}
		if patterns, err = f.Words("INSTALL_HEADERS"); err != nil {
			return err
		}
		if len(patterns) == 0 {
			return &makefile.Unknown{Where: from, What: "INSTALL_HEADERS"}
		}
	}
	for _, pattern := range patterns {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(from, pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := copyFile(name, filepath.Join(b.stage, "include", filepath.Base(name)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// stageData copies configuration data and licence texts.
func (b *builder) stageData() error {
	for _, name := range []string{"mime.types", "magic"} {
		if err := copyFile(filepath.Join(b.dir("httpd"), "docs/conf", name), filepath.Join(b.stage, "conf", name), 0o644); err != nil {
			return err
		}
	}
	for _, c := range b.Components {
		for _, name := range []string{"LICENSE", "LICENSE.txt", "NOTICE", "LICENCE", "LICENCE.md", "COPYING", "expat/COPYING", "Copyright", "COPYING.LIB", "LICENSING"} {
			from := filepath.Join(b.dir(c.Name), name)
			if _, err := os.Stat(from); err != nil {
				continue
			}
			if err := copyFile(from, filepath.Join(b.stage, "licenses", c.Name, filepath.Base(name)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// PrefixVariable stands in build/config_vars.mk for the directory of the tree, as in
// PyPI's mod_wsgi-httpd. mod_wsgi-apxs replaces it with the present one.
const PrefixVariable = "${mod_wsgi_httpd_prefix}"

// stageConfigVars writes build/config_vars.mk, which apxs answers from, without any
// path of the build.
func (b *builder) stageConfigVars() error {
	data, err := os.ReadFile(filepath.Join(b.dir("httpd"), "build/config_vars.mk"))
	if err != nil {
		return err
	}
	set := map[string]string{
		"prefix": PrefixVariable, "exec_prefix": PrefixVariable, "CC": "cc", "CPP": "cc -E", "SHELL": "/bin/sh",
		"CFLAGS": "", "CPPFLAGS": "", "LDFLAGS": "", "PCRE_LIBS": "", "PCRE_CFLAGS": "",
		// Modules may be compiled with another compiler, which may lack the flags of this build.
		"PICFLAGS": "", "PILDFLAGS": "",
		"EXTRA_INCLUDES": "-I$(includedir)",
		"APR_BINDIR":     PrefixVariable + "/bin", "APU_BINDIR": PrefixVariable + "/bin",
		"APR_INCLUDEDIR": PrefixVariable + "/include", "APU_INCLUDEDIR": PrefixVariable + "/include",
		"APR_CONFIG": PrefixVariable + "/bin/apr-1-config", "APU_CONFIG": PrefixVariable + "/bin/apu-1-config",
	}
	var out bytes.Buffer
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
		name = strings.TrimSpace(name)
		if !ok || seen[name] {
			continue
		}
		seen[name] = true
		if fixed, ok := set[name]; ok {
			value = fixed
		}
		fmt.Fprintf(&out, "%s = %s\n", name, b.withoutBuildPaths(value))
		delete(set, name)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&out, "%s = %s\n", name, set[name])
	}
	return writeFile(filepath.Join(b.stage, "build/config_vars.mk"), out.Bytes(), 0o644)
}

// withoutBuildPaths drops the words that name a directory of the build and replaces
// the placeholder with the variable.
func (b *builder) withoutBuildPaths(value string) string {
	words := slices.DeleteFunc(strings.Fields(value), func(w string) bool { return strings.Contains(w, b.Work) })
	return strings.ReplaceAll(strings.Join(words, " "), Placeholder, PrefixVariable)
}

// checkTree checks the tree against the request: every feature's modules exist, no
// file names a directory of the build, and httpd runs from the tree's present path.
func (b *builder) checkTree(ctx context.Context, log *steps.Log) error {
	modules, err := moduleNames(b.stage)
	if err != nil {
		return err
	}
	wanted := []string{
		"mod_mpm_event", "mod_mpm_worker", "mod_mpm_prefork", "mod_unixd", "mod_authz_core", "mod_rewrite", "mod_alias", "mod_headers",
		"mod_proxy", "mod_proxy_http", "mod_proxy_wstunnel", "mod_cgi", "mod_cgid", "mod_status", "mod_reqtimeout", "mod_log_config",
	}
	for _, f := range features {
		if slices.Contains(b.Features, f.Name) {
			wanted = append(wanted, f.Modules...)
		}
	}
	for _, m := range wanted {
		if !slices.Contains(modules, m) {
			return fmt.Errorf("the build did not produce %s, see the log of configure httpd", m)
		}
	}
	leaks, err := relocate.Leaks(b.stage, b.Work)
	if err != nil {
		return err
	}
	if len(leaks) > 0 {
		return fmt.Errorf("these files name the build directory %s: %s", b.Work, strings.Join(leaks, ", "))
	}
	if root := b.Host.Root; root != "" {
		leaks, err := relocate.Leaks(b.stage, root)
		if err != nil {
			return err
		}
		if len(leaks) > 0 {
			return fmt.Errorf("these files name the sysroot %s: %s", root, strings.Join(leaks, ", "))
		}
	}
	if err := b.checkHardening(log); err != nil {
		return err
	}
	if b.Host.Cross != "" {
		return b.checkMachine()
	}
	out, err := b.Runner.Output(ctx, run.Cmd{
		Argv: []string{filepath.Join(b.stage, "bin/httpd"), "-v"}, Env: b.Host.Env, Log: log, LogPath: log.Path,
	})
	if err != nil {
		return err
	}
	if version := b.component("httpd").Version; !bytes.Contains(out, []byte("Apache/"+version+" ")) {
		return fmt.Errorf("httpd reports %q, not %s", strings.TrimSpace(string(out)), version)
	}
	return nil
}

// moduleNames lists the names for LoadModule, without ".so", sorted.
func moduleNames(tree string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(tree, "modules"))
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".so"); ok && strings.HasPrefix(name, "mod_") {
			names = append(names, name)
		}
	}
	return names, err
}
