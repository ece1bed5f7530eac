package httpdbuild

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// configure runs a component's configure script for the placeholder prefix.
func (b *builder) configure(ctx context.Context, log *steps.Log, name string, args ...string) error {
	release, err := b.pool.Acquire(ctx, objgraph.Heavy+first[name])
	if err != nil {
		return err
	}
	defer release()
	seeds, err := b.seed(ctx, log, name)
	if err != nil {
		return err
	}
	argv := slices.Concat([]string{"./configure"}, seeds, []string{
		"--prefix=" + Placeholder, "CC=" + strings.Join(b.Host.CC, " "),
		"CFLAGS=" + strings.Join(cflags(b.Work), " "),
	}, b.cross(), args)
	if shell := b.shell(); shell != "" {
		argv = append([]string{shell}, argv...)
		argv = append(argv, "CONFIG_SHELL="+shell)
	}
	if err := b.toolAs(ctx, log, timeline.Configure, log.Step, nil, b.dir(name), argv...); err != nil {
		return err
	}
	if err := b.relocateConfigScripts(name); err != nil || len(seeds) == 0 {
		return err
	}
	return b.learn(name)
}

// configurePCRE2 also puts the header, and the program that reports the library's
// flags, where httpd looks for them.
func (b *builder) configurePCRE2(ctx context.Context, log *steps.Log) error {
	// Without make, automake writes makefiles whose recipes print a line before each
	// command, unless silent rules are disabled.
	if err := b.configure(ctx, log, "pcre2", ldflags(), "--disable-static", "--disable-dependency-tracking", "--disable-silent-rules"); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(b.dir("pcre2"), "src/pcre2.h"), filepath.Join(b.deps(), "include/pcre2.h"), 0o644); err != nil {
		return err
	}
	return copyFile(filepath.Join(b.dir("pcre2"), "pcre2-config"), filepath.Join(b.deps(), "bin/pcre2-config"), 0o755)
}

// compilePCRE2 makes only the library for 8-bit characters, which httpd links, and
// leaves out the command line tools.
func (b *builder) compilePCRE2(ctx context.Context, log *steps.Log) error {
	if err := b.makeIn("pcre2", "libpcre2-8.la")(ctx, log); err != nil {
		return err
	}
	return copySharedLibrary(filepath.Join(b.dir("pcre2"), ".libs"), "libpcre2-8", filepath.Join(b.deps(), "lib"), true)
}

func (b *builder) nativePCRE2(ctx context.Context, log *steps.Log) error {
	if err := b.nativeLibrary("pcre2", "libpcre2-8.la", pcre2Generated)(ctx, log); err != nil {
		return err
	}
	return copySharedLibrary(filepath.Join(b.dir("pcre2"), ".libs"), "libpcre2-8", filepath.Join(b.deps(), "lib"), true)
}

func (b *builder) configureAPR(ctx context.Context, log *steps.Log) error {
	// Without libuuid APR makes UUIDs itself, from its own random source, and target
	// machines need one library less. No device for random bytes is named: APR would
	// open it again every few bytes, some thousand times at every start of httpd,
	// whereas getrandom(2) needs no file.
	flags, linker := b.cryptFlags()
	return b.configure(ctx, log, "apr", append(flags, ldflags(linker...), "--disable-static",
		"ac_cv_search_uuid_create=no", "ac_cv_search_uuid_generate=no",
		"ac_cv_header_uuid_h=no", "ac_cv_header_uuid_uuid_h=no", "ac_cv_header_sys_uuid_h=no")...)
}

func (b *builder) configureAPRUtil(ctx context.Context, log *steps.Log) error {
	args, linker := b.cryptFlags()
	for _, l := range b.bundled() {
		if l.feature == "" { // APR-util links it, not httpd
			linker = append(linker, hide(l.archives)...)
		}
	}
	args = append(args,
		ldflags(linker...), "--with-apr="+b.dir("apr"),
		"--without-pgsql", "--without-mysql", "--without-sqlite3", "--without-sqlite2", "--without-oracle", "--without-odbc",
		"--without-gdbm", "--without-ndbm", "--without-berkeley-db", "--without-nss", "--without-openssl", "--without-ldap", "--without-iconv",
	)
	if b.component("expat") != nil {
		args = append(args, "--with-expat="+b.deps())
	}
	return b.configure(ctx, log, "apr-util", args...)
}

// unwanted are modules that configure would add if it finds a library that no feature
// requested.
var unwanted = []string{"--disable-lua", "--disable-md", "--disable-authnz-ldap", "--disable-ldap", "--disable-systemd", "--disable-suexec"}

func (b *builder) configureHTTPD(ctx context.Context, log *steps.Log) error {
	found, linker := b.httpdLibraries()
	args := []string{
		ldflags(append([]string{"-L" + filepath.Join(b.deps(), "lib")}, linker...)...), "CPPFLAGS=-I" + filepath.Join(b.deps(), "include"),
		"--with-apr=" + b.dir("apr"), "--with-apr-util=" + b.dir("apr-util"), "--with-pcre=" + filepath.Join(b.deps(), "bin/pcre2-config"),
		"--enable-so", "--enable-mpms-shared=all", "--enable-mods-shared=most", "--enable-cgi", "--enable-cgid",
	}
	args = append(append(args, unwanted...), found...)
	for _, f := range features {
		if slices.Contains(b.Features, f.Name) {
			args = append(args, f.on...)
		} else {
			args = append(args, f.off...)
		}
	}
	return b.configure(ctx, log, "httpd", args...)
}

// compileExpat compiles the library itself, which becomes a part of APR-util: Python's
// pyexpat may be in the same process, and need a newer Expat. The archive is the
// repository's and has no configure script, so the few settings are here
// (https://github.com/libexpat/libexpat/blob/master/expat/expat_config.h.cmake).
func (b *builder) compileExpat(ctx context.Context, log *steps.Log) error {
	lib := "expat/lib"
	if _, err := os.Stat(filepath.Join(b.dir("expat"), lib)); err != nil {
		lib = "lib" // a release archive
	}
	s := static{
		component: "expat", archive: "libexpat.a", pkg: "expat", libs: "-lexpat",
		sources: []string{lib + "/xmlparse.c", lib + "/xmlrole.c", lib + "/xmltok.c"},
		flags:   []string{"-DHAVE_EXPAT_CONFIG_H", "-I" + lib},
		headers: map[string]string{lib + "/expat.h": "", lib + "/expat_external.h": ""},
		prepare: func(_ *builder, dir string) error {
			return writeFile(filepath.Join(dir, lib, "expat_config.h"), []byte(expatConfig), 0o644)
		},
	}
	if random, err := os.Stat(filepath.Join(b.dir("expat"), lib, "random.c")); err == nil && random.Size() > 0 {
		s.sources = append(s.sources, lib+"/random.c")
	}
	return b.compileStatic(ctx, log, s)
}

const expatConfig = `#define BYTEORDER 1234
#define HAVE_MEMMOVE 1
#define HAVE_UNISTD_H 1
#define HAVE_FCNTL_H 1
#define XML_CONTEXT_BYTES 1024
#define XML_DTD 1
#define XML_NS 1
#define XML_GE 1
#define XML_DEV_URANDOM 1
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#undef BYTEORDER
#define BYTEORDER 4321
#define WORDS_BIGENDIAN 1
#endif
`
