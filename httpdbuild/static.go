package httpdbuild

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/filetree"
	"modwsgi/internal/libtool"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// The small libraries are compiled from lists of their sources, like Expat, rather than
// by their own build systems: those would need CMake or minutes of configure tests for
// a handful of settings. Each becomes a static library whose symbols are hidden, and
// which only the modules that use it contain.

// static is a static library.
type static struct {
	component string
	archive   string            // "libz.a"
	sources   []string          // patterns below the component's directory
	except    []string          // names among them that are left out
	flags     []string          // for the compiler, which runs in the component's directory
	headers   map[string]string // pattern -> directory below include
	// prepare writes the headers that the library's own build would generate.
	prepare   func(*builder, string) error
	pkg, libs string // name for pkg-config, and what to link
}

var zlib = static{
	component: "zlib", archive: "libz.a", pkg: "zlib", libs: "-lz",
	// Files named gz* read and write compressed files, which no module does.
	sources: []string{"*.c"}, except: []string{"gzclose.c", "gzlib.c", "gzread.c", "gzwrite.c"},
	flags:   []string{"-D_LARGEFILE64_SOURCE=1", "-DNO_GZIP_FILES"},
	headers: map[string]string{"zlib.h": "", "zconf.h": ""},
}

var brotliCommon = static{
	component: "brotli", archive: "libbrotlicommon.a", pkg: "libbrotlicommon", libs: "-lbrotlicommon",
	sources: []string{"c/common/*.c"}, flags: []string{"-Ic/include"},
	headers: map[string]string{"c/include/brotli/*.h": "brotli"},
}

var brotliEncoder = static{
	component: "brotli", archive: "libbrotlienc.a", pkg: "libbrotlienc", libs: "-lbrotlienc -lbrotlicommon",
	sources: []string{"c/enc/*.c"}, flags: []string{"-Ic/include"},
}

var nghttp2 = static{
	component: "nghttp2", archive: "libnghttp2.a", pkg: "libnghttp2", libs: "-lnghttp2",
	sources: []string{"lib/*.c"},
	flags: []string{
		"-Ilib/includes", "-DBUILDING_NGHTTP2", "-DNGHTTP2_STATICLIB",
		"-DHAVE_ARPA_INET_H=1", "-DHAVE_NETINET_IN_H=1", "-DHAVE_CLOCK_GETTIME=1", "-DHAVE_DECL_CLOCK_MONOTONIC=1",
	},
	headers: map[string]string{"lib/includes/nghttp2/*.h": "nghttp2"},
}

// libxml2 is built with the parts that mod_proxy_html and mod_xml2enc call: the push
// parser for HTML, SAX, serialization, character sets.
var libxml2 = static{
	component: "libxml2", archive: "libxml2.a", pkg: "libxml-2.0", libs: "-lxml2",
	sources: []string{
		"buf.c", "chvalid.c", "dict.c", "entities.c", "encoding.c", "error.c", "globals.c", "hash.c", "list.c", "parser.c", "parserInternals.c",
		"SAX2.c", "threads.c", "tree.c", "uri.c", "valid.c", "xmlIO.c", "xmlmemory.c", "xmlstring.c", "HTMLparser.c", "HTMLtree.c", "xmlsave.c",
	},
	flags:   []string{"-I.", "-Iinclude", "-D_REENTRANT", "-DLIBXML_STATIC"},
	headers: map[string]string{"include/libxml/*.h": "libxml"},
	prepare: writeLibxml2Config,
}

// withXML are the parts of libxml2 that are built.
var withXML = []string{"THREADS", "OUTPUT", "PUSH", "SAX1", "HTML", "ICONV", "ISO8859X"}

// writeLibxml2Config writes config.h and xmlversion.h.
func writeLibxml2Config(b *builder, dir string) error {
	config := "#define HAVE_STDINT_H 1\n#define HAVE_INTTYPES_H 1\n#define HAVE_UNISTD_H 1\n#define HAVE_SYS_STAT_H 1\n#define HAVE_PTHREAD_H 1\n" +
		"#define HAVE_DECL_GETENTROPY 0\n#define HAVE_DECL_GLOB 0\n#define HAVE_DECL_MMAP 0\n#define HAVE_FUNC_ATTRIBUTE_DESTRUCTOR 1\n" +
		"#define XML_THREAD_LOCAL __thread\n#define XML_SYSCONFDIR \"/etc\"\n"
	if err := writeFile(filepath.Join(dir, "config.h"), []byte(config), 0o644); err != nil {
		return err
	}
	version := b.component("libxml2").Version
	var major, minor, micro int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &micro); err != nil {
		return fmt.Errorf("read the version of libxml2 %q: %w", version, err)
	}
	values := map[string]string{
		"VERSION": version, "LIBXML_VERSION_NUMBER": fmt.Sprint(major*10000 + minor*100 + micro), "LIBXML_VERSION_EXTRA": "", "MODULE_EXTENSION": ".so",
	}
	for _, part := range withXML {
		values["WITH_"+part] = "1"
	}
	return fillIn(filepath.Join(dir, "include/libxml/xmlversion.h"), values)
}

// static compiles the static libraries of a component.
func (b *builder) static(all ...static) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		for _, s := range all {
			if err := b.compileStatic(ctx, log, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// compileStatic makes a static library, and puts it and its headers into deps.
func (b *builder) compileStatic(ctx context.Context, log *steps.Log, s static) error {
	dir := b.dir(s.component)
	if s.prepare != nil {
		if err := s.prepare(b, dir); err != nil {
			return err
		}
	}
	if err := makeDir(filepath.Join(b.deps(), "lib")); err != nil {
		return err
	}
	p := b.newPlan(log)
	objects, err := p.objects(dir, s.sources, s.except, append(s.flags, "-fvisibility=hidden"))
	if err != nil {
		return err
	}
	out := filepath.Join(b.deps(), "lib", s.archive)
	p.spans[out] = s.archive
	p.add(objgraph.Task{Name: out, Needs: objects, Weight: linkWeight, Run: func(ctx context.Context) error {
		return b.toolAs(ctx, log, timeline.Link, s.archive, p.after(objects), dir, append([]string{b.Host.Tool("ar"), "cr", out}, objects...)...)
	}})
	if err := p.run(ctx); err != nil {
		return err
	}
	for pattern, to := range s.headers {
		if err := b.copyHeaders(dir, pattern, to); err != nil {
			return err
		}
	}
	return b.pkgConfig(s.pkg, b.component(s.component).Version, s.libs)
}

// objects plans the compilation of sources, which are patterns below dir, for a shared
// object.
func (p *plan) objects(dir string, sources, except, flags []string) ([]string, error) {
	var objects []string
	for _, pattern := range sources {
		found := filetree.Glob(dir, pattern)
		if len(found) == 0 {
			return nil, fmt.Errorf("the sources in %s have no %s", filepath.Base(dir), pattern)
		}
		for _, source := range found {
			if slices.Contains(except, filepath.Base(source)) {
				continue
			}
			rel, err := filepath.Rel(dir, source)
			if err != nil {
				return nil, err
			}
			// Objects for the optimizer of the linker would need its own archiver.
			c := &libtool.Compile{
				Args:   slices.Concat(p.b.Host.CC, p.b.compilerFlags(), []string{"-fPIC", "-fno-lto"}, flags),
				Source: rel, Object: strings.TrimSuffix(rel, ".c") + ".o",
			}
			object := filepath.Join(dir, c.Object)
			if err := p.compile(c, dir, object); err != nil {
				return nil, err
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// copyHeaders copies headers into a directory below include in deps.
func (b *builder) copyHeaders(dir, pattern, to string) error {
	found := filetree.Glob(dir, pattern)
	if len(found) == 0 {
		return fmt.Errorf("the sources in %s have no %s", filepath.Base(dir), pattern)
	}
	for _, h := range found {
		if err := copyFile(h, filepath.Join(b.deps(), "include", to, filepath.Base(h)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
