//go:build acceptance && linux

package httpdbuild

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"modwsgi/internal/testkit"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/toolchain"
)

// Every small library compiles from its source archive, reports the archive's version,
// and keeps its symbols out of the module that contains it.
func TestSmallLibraries(t *testing.T) {
	testkit.Turn(t, "libraries")
	for name, c := range map[string]struct{ program, libs, symbol string }{
		"zlib":    {"#include <zlib.h>\nconst char *version(void) { z_stream s = {0}; deflateInit(&s, 9); deflateEnd(&s); return zlibVersion(); }\n", "-lz", "deflateInit_"},
		"brotli":  {"#include <brotli/encode.h>\n#include <stdio.h>\nconst char *version(void) { static char t[20]; unsigned v = BrotliEncoderVersion(); sprintf(t, \"%u.%u.%u\", v >> 24, v >> 12 & 4095, v & 4095); return BrotliEncoderMaxCompressedSize(9) ? t : 0; }\n", "-lbrotlienc -lbrotlicommon -lm", "BrotliEncoderVersion"},
		"nghttp2": {"#include <nghttp2/nghttp2.h>\nconst char *version(void) { return nghttp2_version(0)->version_str; }\n", "-lnghttp2", "nghttp2_version"},
		"libxml2": {"#include <libxml/HTMLparser.h>\n#include <string.h>\nconst char *version(void) { htmlParserCtxtPtr c = htmlCreatePushParserCtxt(0, 0, \"<p>x\", 4, 0, XML_CHAR_ENCODING_UTF8); " +
			"htmlParseChunk(c, \"</p>\", 4, 1); return c->myDoc && !strcmp((char *)xmlDocGetRootElement(c->myDoc)->name, \"html\") ? LIBXML_DOTTED_VERSION : xmlParserVersion; }\n", "-lxml2 -lm", "htmlParseChunk"},
		// The value is of the specification (https://www.akkadia.org/drepper/SHA-crypt.txt).
		crypt: {"#include <crypt.h>\n#include <string.h>\nconst char *version(void) { struct crypt_data d = {0}; char *r = crypt_r(\"Hello world!\", \"$6$saltstring\", &d);\n" +
			"return r && !strcmp(r, \"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\") && crypt(\"x\", \"$y$j9T$salt\") ? XCRYPT_VERSION_STR : r; }\n", "-lcrypt", "crypt_r"},
	} {
		t.Run(name, func(t *testing.T) {
			parts := archives(t, name)
			r, dir := &run.Runner{}, t.TempDir()
			tools, err := toolchain.Find(t.Context(), r, os.Environ(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			b := &builder{
				Request: Request{Components: parts, Host: &Host{Toolchain: tools}, Flags: hardened(t, r, tools), Jobs: runtime.NumCPU(), Work: dir, Logs: filepath.Join(dir, "logs"), Runner: r, Driver: Native},
				pool:    objgraph.NewPool(runtime.NumCPU()),
			}
			if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
				t.Fatal(err)
			}
			all := append(b.stepsOf(b.bundled()[0]), steps.Step{Name: "unpack " + name, Run: b.unpack(parts[0])})
			if _, err := steps.Run(t.Context(), b.Logs, b.watch(), all); err != nil {
				t.Fatal(err)
			}
			version := useLibrary(t, b, c.program, strings.Fields(c.libs), c.symbol, name == crypt)
			if version != parts[0].Version {
				t.Errorf("it reports version %q, and not %s", version, parts[0].Version)
			}
		})
	}
}

// useLibrary links a shared object like a module, calls it, and returns its answer. The
// symbol must be in a shared library with its own version, or hidden.
func useLibrary(t *testing.T, b *builder, source string, libs []string, symbol string, shared bool) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"module.c": source, "main.c": "#include <stdio.h>\nconst char *version(void);\nint main(void) { return puts(version()) < 0; }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, hidden := b.httpdLibraries()
	argv := append(append([]string{}, b.Host.CC...), "-shared", "-fPIC", "-I"+b.deps()+"/include", "-L"+b.deps()+"/lib", "-o", "libmodule.so", "module.c", "-Wl,-rpath,"+b.deps()+"/lib")
	for _, argv := range [][]string{
		append(append(argv, hidden...), libs...),
		append(append([]string{}, b.Host.CC...), "-o", "main", "main.c", "-L.", "-lmodule", "-Wl,-rpath,"+dir+":"+b.deps()+"/lib", "-Wl,--allow-shlib-undefined"),
	} {
		if err := b.Runner.Run(t.Context(), run.Cmd{Argv: argv, Dir: dir, Env: b.Host.Env}); err != nil {
			t.Fatal(toolchain.WithTail(err))
		}
	}
	f, err := elf.Open(filepath.Join(dir, "libmodule.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == symbol && s.Section != elf.SHN_UNDEF {
			t.Errorf("the module exports %s", symbol)
		}
		if s.Name == symbol && s.Section == elf.SHN_UNDEF && (!shared || s.Version != "MODWSGI_CRYPT") {
			t.Errorf("the module imports %s %s", symbol, s.Version)
		}
	}
	out, err := b.Runner.Output(t.Context(), run.Cmd{Argv: []string{filepath.Join(dir, "main")}, Env: b.Host.Env})
	if err != nil {
		t.Fatal(toolchain.WithTail(err))
	}
	return strings.TrimSpace(string(out))
}
