package httpdbuild

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// libxcrypt's sources are those of its repository, without a configure script, and its
// build generates headers with Perl. What they contain follows from two tables in the
// sources, so they are written here. The library stays a shared one, which users may
// replace, as its licence demands (LGPL 2.1, section 6).

// cryptInterface are the functions that the library exports. Those for old programs
// (encrypt, setkey, fcrypt, …) are left out, as with --disable-obsolete-api.
var cryptInterface = []string{
	"crypt", "crypt_r", "crypt_rn", "crypt_ra", "crypt_gensalt", "crypt_gensalt_rn", "crypt_gensalt_ra", "crypt_checksalt", "crypt_preferred_method",
}

var cryptObsolete = []string{
	"crypt_gensalt_r", "xcrypt", "xcrypt_r", "xcrypt_gensalt", "xcrypt_gensalt_r", "encrypt", "encrypt_r", "setkey", "setkey_r", "fcrypt",
}

func (b *builder) compileLibxcrypt(ctx context.Context, log *steps.Log) error {
	dir := b.dir(crypt)
	if err := b.writeCryptHeaders(dir); err != nil {
		return err
	}
	script := "MODWSGI_CRYPT {\nglobal:\n"
	for _, name := range cryptInterface {
		script += "  " + name + ";\n"
	}
	if err := writeFile(filepath.Join(dir, "crypt.map"), []byte(script+"local:\n  *;\n};\n"), 0o644); err != nil {
		return err
	}
	p := b.newPlan(log)
	// The macro PIC would select upstream's symbol versions.
	objects, err := p.objects(dir, []string{"lib/*.c"}, []string{"gen-des-tables.c", "alg-yescrypt-platform.c", "crypt-des-obsolete.c"},
		[]string{"-std=gnu11", "-I.", "-Ilib", "-DHAVE_CONFIG_H", "-DIN_LIBCRYPT"})
	if err != nil {
		return err
	}
	soname := "libcrypt" + variant + ".so.2"
	out := filepath.Join(b.deps(), "lib", soname)
	if err := makeDir(filepath.Dir(out)); err != nil {
		return err
	}
	for i := range p.tasks { // APR's configure script, the beginning of the critical path, waits for it
		p.tasks[i].Weight += objgraph.Heavy / 2
	}
	p.spans[out] = soname
	p.add(objgraph.Task{Name: out, Needs: objects, Weight: objgraph.Heavy, Run: func(ctx context.Context) error {
		argv := slices.Concat(b.Host.CC, []string{
			"-shared", "-fno-lto", "-Wl,-soname," + soname, "-Wl,--version-script=crypt.map",
		}, b.link(), []string{"-o", out}, objects)
		return b.toolAs(ctx, log, timeline.Link, soname, p.after(objects), dir, argv...)
	}})
	if err := p.run(ctx); err != nil {
		return err
	}
	if err := replaceLink(soname, filepath.Join(b.deps(), "lib/libcrypt.so")); err != nil {
		return err
	}
	return b.copyHeaders(dir, "crypt.h", "")
}

// cryptConfig is config.h: glibc and musl on Linux, with gcc or clang.
const cryptConfig = `#define HAVE_ENDIAN_H 1
#define HAVE_FCNTL_H 1
#define HAVE_MAX_ALIGN_T 1
#define HAVE_STATIC_ASSERT_IN_ASSERT_H 1
#define HAVE_SYSCALL 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_SYSCALL_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_UNISTD_H 1
#define ENABLE_FAILURE_TOKENS 1
#define ENABLE_OBSOLETE_API 0
#define ENABLE_OBSOLETE_API_ENOSYS 0
#define _GNU_SOURCE 1
#include <features.h>
#ifdef __GLIBC__
#define HAVE_SYS_CDEFS_H 1
#define HAVE_SYS_CDEFS_THROW 1
#endif
#include <stdalign.h>
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ENDIANNESS_IS_BIG 1
#else
#define ENDIANNESS_IS_LITTLE 1
#endif
`

// cryptBegin is how crypt.h begins. glibc has __THROW in the headers that features.h
// includes, musl has none.
const cryptBegin = `#include <features.h>
#ifndef __THROW
# define __THROW
#endif
#ifdef __cplusplus
extern "C" {
#endif`

func (b *builder) writeCryptHeaders(dir string) error {
	table, err := os.ReadFile(filepath.Join(dir, "lib/hashes.conf"))
	if err != nil {
		return err
	}
	hashes, err := cryptHashes(table)
	if err != nil {
		return err
	}
	version := b.component(crypt).Version
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	for name, text := range map[string]string{
		"config.h": cryptConfig, "crypt-hashes.h": hashes, "crypt-symbol-vers.h": cryptSymbols(),
	} {
		if err := writeFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	values := map[string]string{
		"BEGIN_DECLS": cryptBegin, "END_DECLS": "#ifdef __cplusplus\n}\n#endif", "DEFAULT_PREFIX_ENABLED": "1",
		"XCRYPT_VERSION_MAJOR": major, "XCRYPT_VERSION_MINOR": minor, "XCRYPT_VERSION_STR": version,
	}
	for from, to := range map[string]string{"lib/crypt.h.in": "crypt.h", "lib/xcrypt.h.in": "xcrypt.h"} {
		if err := fillInto(filepath.Join(dir, from), filepath.Join(dir, to), values); err != nil {
			return err
		}
	}
	return nil
}

// cryptSymbols lists the functions that are compiled. They get the version of
// the linker's script instead of upstream's.
func cryptSymbols() string {
	var out strings.Builder
	for _, name := range cryptInterface {
		fmt.Fprintf(&out, "#define INCLUDE_%s 1\n", name)
	}
	for _, name := range cryptObsolete {
		fmt.Fprintf(&out, "#define INCLUDE_%s 0\n", name)
	}
	for _, name := range slices.Concat(cryptInterface, cryptObsolete) {
		fmt.Fprintf(&out, "#define SYMVER_%s symver_nop ()\n", name)
	}
	return out.String()
}

// hashMethod is a line of hashes.conf.
type hashMethod struct {
	name, prefix, random string
	strong               bool
}

// cryptHashes is the header that enables every method in hashes.conf. In its table a
// longer prefix comes before a shorter one, and the method without a prefix last.
func cryptHashes(table []byte) (string, error) {
	var all []hashMethod
	preferred := ""
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 4 || !methodName.MatchString(f[0]) || strings.ContainsAny(f[1], `"\`) || !methodName.MatchString("n"+f[2]) {
			return "", fmt.Errorf("lib/hashes.conf of libxcrypt has the line %q, which is not understood", strings.TrimSpace(string(line)))
		}
		flags := strings.Split(f[3], ",")
		m := hashMethod{f[0], strings.TrimPrefix(f[1], ":"), f[2], slices.Contains(flags, "STRONG")}
		if preferred == "" && slices.Contains(flags, "DEFAULT") {
			preferred = m.prefix
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("lib/hashes.conf of libxcrypt names no method")
	}
	var out strings.Builder
	for _, m := range all {
		fmt.Fprintf(&out, "#define INCLUDE_%s 1\n", m.name)
		for _, kind := range []string{"crypt", "gensalt"} {
			fmt.Fprintf(&out, "#define %[1]s_%[2]s_rn _crypt_%[1]s_%[2]s_rn\n", kind, m.name)
		}
		fmt.Fprintf(&out, "extern void crypt_%s_rn (const char *, size_t, const char *, size_t, uint8_t *, size_t, void *, size_t);\n", m.name)
		fmt.Fprintf(&out, "extern void gensalt_%s_rn (unsigned long, const uint8_t *, size_t, uint8_t *, size_t);\n", m.name)
	}
	slices.SortStableFunc(all, func(a, b hashMethod) int {
		if len(a.prefix) != len(b.prefix) {
			return len(b.prefix) - len(a.prefix)
		}
		return strings.Compare(a.prefix, b.prefix)
	})
	out.WriteString("#define HASH_ALGORITHM_TABLE_ENTRIES \\\n")
	for _, m := range all {
		strong := 0
		if m.strong {
			strong = 1
		}
		fmt.Fprintf(&out, "  { %q, %d, crypt_%s_rn, gensalt_%s_rn, %s, %d }, \\\n", m.prefix, len(m.prefix), m.name, m.name, m.random, strong)
	}
	fmt.Fprintf(&out, "  { 0, 0, 0, 0, 0, 0 }\n#define HASH_ALGORITHM_DEFAULT %q\n", preferred)
	return out.String(), nil
}

var methodName = regexp.MustCompile(`^[a-z0-9_]+$`)

var placeholder = regexp.MustCompile(`@([A-Za-z0-9_]+)@`)

// fillIn writes name from the template name.in, in which @X@ stands for values[X]. A
// name without a value, which must be that of an optional part, stands for 0.
func fillIn(name string, values map[string]string) error { return fillInto(name+".in", name, values) }

func fillInto(template, name string, values map[string]string) error {
	data, err := os.ReadFile(template)
	if err != nil {
		return err
	}
	unknown := ""
	out := placeholder.ReplaceAllFunc(data, func(m []byte) []byte {
		key := string(m[1 : len(m)-1])
		value, ok := values[key]
		if !ok && strings.HasPrefix(key, "WITH_") {
			value, ok = "0", true
		}
		if !ok {
			unknown = key
		}
		return []byte(value)
	})
	if unknown != "" {
		return fmt.Errorf("%s contains @%s@, which is not known", filepath.Base(template), unknown)
	}
	return writeFile(name, out, 0o644)
}
