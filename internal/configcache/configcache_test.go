//go:build unix

package configcache

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/run"
)

const script = `
as_fn_append ac_header_c_list " stdio.h stdio_h HAVE_STDIO_H"
  ac_fn_c_check_header_compile "$LINENO" $ac_header ac_cv_header_$ac_cache "$ac_includes_default"
ac_fn_c_check_header_compile "$LINENO" "sys/types.h" "ac_cv_header_sys_types_h" "$ac_includes_default"
if test "x$ac_cv_header_sys_types_h" = xyes
ac_fn_c_check_header_compile "$LINENO" "no/such/header.h" "ac_cv_header_no_such_header_h" "$ac_includes_default"
ac_fn_c_check_header_compile "$LINENO" "net/if.h" "ac_cv_header_net_if_h" "
#include <sys/socket.h>
"
ac_fn_c_check_func "$LINENO" "printf" "ac_cv_func_printf"
  e) ac_fn_c_check_func "$LINENO" "memmove" "ac_cv_func_memmove"
ac_fn_c_check_func "$LINENO" "no_such_function" "ac_cv_func_no_such_function"
ac_fn_c_check_func "$LINENO" "$ac_func" "$as_ac_var"
  e) if ac_fn_c_compute_int "$LINENO" "(long int) (sizeof (char))" "ac_cv_sizeof_char"        "$ac_includes_default"
then :
  if ac_fn_c_compute_int "$LINENO" "(long int) (sizeof (short))" "ac_cv_sizeof_short"        "#include <x.h>
"
`

func TestScan(t *testing.T) {
	q := Scan(script)
	if want := map[string]string{"ac_cv_header_stdio_h": "stdio.h", "ac_cv_header_sys_types_h": "sys/types.h", "ac_cv_header_no_such_header_h": "no/such/header.h"}; !maps.Equal(q.Headers, want) {
		t.Errorf("headers %v", q.Headers)
	}
	if want := map[string]string{"ac_cv_func_printf": "printf", "ac_cv_func_memmove": "memmove", "ac_cv_func_no_such_function": "no_such_function"}; !maps.Equal(q.Functions, want) {
		t.Errorf("functions %v", q.Functions)
	}
	if want := map[string]string{"ac_cv_sizeof_char": "char"}; !maps.Equal(q.Sizes, want) {
		t.Errorf("sizes %v", q.Sizes)
	}
}

// declarations is what follows the tests of the default headers in a script: types and
// members, after headers of several forms.
const declarations = `as_fn_append ac_header_c_list " sys/stat.h sys_stat_h HAVE_SYS_STAT_H"
ac_fn_c_check_type "$LINENO" "early_t" "ac_cv_type_early_t" "#include <stdio.h>"
for ac_item in $ac_header_c_list
ac_fn_c_check_type "$LINENO" "size_t" "ac_cv_type_size_t" "$ac_includes_default"
  ac_fn_c_check_type "$LINENO" "pid_t" "ac_cv_type_pid_t" "$ac_includes_default
"
ac_fn_c_check_type "$LINENO" "no_such_t" "ac_cv_type_no_such_t" "$ac_includes_default"
ac_fn_c_check_type "$LINENO" "optional_t" "ac_cv_type_optional_t" "
#ifdef HAVE_OPTIONAL_H
#include <optional.h>
#endif
"
ac_fn_c_check_type "$LINENO" "twice_t" "ac_cv_type_twice_t" "#include <a.h>"
ac_fn_c_check_type "$LINENO" "twice_t" "ac_cv_type_twice_t" "#include <b.h>"
ac_fn_c_check_member "$LINENO" "struct stat" "st_mode" "ac_cv_member_struct_stat_st_mode" "
#ifdef HAVE_SYS_STAT_H
# include <sys/stat.h>
#endif
"
ac_fn_c_check_member "$LINENO" "struct stat" "st_none" "ac_cv_member_struct_stat_st_none" "
#ifdef HAVE_SYS_STAT_H
# include <sys/stat.h>
#endif
"
ac_fn_c_check_member "$LINENO" "struct no_such" "member" "ac_cv_member_struct_no_such_member" "
#ifdef HAVE_SYS_STAT_H
# include <sys/stat.h>
#endif
"
`

func TestScanDeclarations(t *testing.T) {
	after := "#if __has_include(<sys/stat.h>)\n#include <sys/stat.h>\n#endif\n"
	want := map[string]Declaration{
		"ac_cv_type_size_t": {includes(), "size_t", ""}, "ac_cv_type_pid_t": {includes(), "pid_t", ""}, "ac_cv_type_no_such_t": {includes(), "no_such_t", ""},
		"ac_cv_member_struct_stat_st_mode":   {after, "struct stat", "st_mode"},
		"ac_cv_member_struct_stat_st_none":   {after, "struct stat", "st_none"},
		"ac_cv_member_struct_no_such_member": {after, "struct no_such", "member"},
	}
	if got := Scan(declarations).Declared; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// libraries has a search as Autoconf 2.71 writes it, and one as 2.72 does.
const libraries = `if test ${ac_cv_search_puts+y}
then :
  printf %s "(cached) " >&6
else $as_nop
  ac_func_search_save_LIBS=$LIBS
cat confdefs.h - <<_ACEOF >conftest.$ac_ext
char puts ();
_ACEOF
for ac_lib in '' cposix
do
  if ac_fn_c_try_link "$LINENO"
then :
  ac_cv_search_puts=$ac_res
fi
done
LIBS=$ac_func_search_save_LIBS
if test ${ac_cv_search_no_such+y}
else case e in #(
  e) ac_func_search_save_LIBS=$LIBS
char no_such (void);
for ac_lib in '' m
do
  ac_cv_search_no_such=$ac_res
LIBS=$ac_func_search_save_LIBS ;;
  e) ac_func_search_save_LIBS=$LIBS
char exit (void);
for ac_lib in c
do
  ac_cv_search_exit=$ac_res
LIBS=$ac_func_search_save_LIBS ;;
if test ${ac_cv_lib_c_puts+y}
then :
  printf %s "(cached) " >&6
else $as_nop
  ac_check_lib_save_LIBS=$LIBS
LIBS="-lc  $LIBS"
if test ${ac_cv_lib_no_such_puts+y}
then :
  printf %s "(cached) " >&6
else case e in #(
  e) ac_check_lib_save_LIBS=$LIBS
LIBS="-lno-such -lm $LIBS"
`

func TestScanLibraries(t *testing.T) {
	q := Scan(libraries)
	if want := map[string]string{"ac_cv_search_puts": "puts", "ac_cv_search_no_such": "no_such"}; !maps.Equal(q.Searches, want) {
		t.Errorf("searches %v", q.Searches)
	}
	if want := map[string]string{"ac_cv_lib_c_puts": "c", "ac_cv_lib_no_such_puts": "no-such"}; !maps.Equal(q.Libraries, want) {
		t.Errorf("libraries %v", q.Libraries)
	}
}

func TestUnion(t *testing.T) {
	one := Questions{Headers: map[string]string{"a": "a.h", "b": "b.h"}, Sizes: map[string]string{"s": "int"}}
	two := Questions{Headers: map[string]string{"a": "a.h", "b": "other/b.h", "c": "c.h"}, Functions: map[string]string{"f": "f"}}
	all := Union(one, two)
	if !maps.Equal(all.Headers, map[string]string{"a": "a.h", "c": "c.h"}) || len(all.Sizes) != 1 || len(all.Functions) != 1 {
		t.Errorf("got %v", all)
	}
	if of := two.Of(map[string]string{"c": "yes", "s": "4"}); !maps.Equal(of, map[string]string{"c": "yes"}) {
		t.Errorf("got %v", of)
	}
}

func compiler(t *testing.T, argv ...string) *Compiler {
	t.Helper()
	return &Compiler{Runner: &run.Runner{}, Argv: argv, Env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, Dir: t.TempDir()}
}

func TestAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("cc", os.Environ()); err != nil {
		t.Skip("cc not found: ", err)
	}
	got, err := compiler(t, "cc", "-O2").Answer(t.Context(), Union(Scan(script), Scan(declarations), Scan(libraries)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ac_cv_header_stdio_h": "yes", "ac_cv_header_sys_types_h": "yes", "ac_cv_header_no_such_header_h": "no",
		"ac_cv_func_printf": "yes", "ac_cv_func_memmove": "yes", "ac_cv_func_no_such_function": "no", "ac_cv_sizeof_char": "1",
		"ac_cv_type_size_t": "yes", "ac_cv_type_pid_t": "yes", "ac_cv_header_sys_stat_h": "yes",
		"ac_cv_member_struct_stat_st_mode": "yes", "ac_cv_member_struct_stat_st_none": "no",
		"ac_cv_search_puts": "none required", "ac_cv_lib_no_such_puts": "no",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// A header that exists but does not compile is left to the script. So are all functions if
// the linker reports something else.
func TestNoAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("cc", os.Environ()); err != nil {
		t.Skip("cc not found: ", err)
	}
	c := compiler(t, "cc")
	if err := os.WriteFile(filepath.Join(c.Dir, "broken.h"), []byte("#error broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Argv = append(c.Argv, "-I"+c.Dir)
	got, err := c.Answer(t.Context(), Questions{Headers: map[string]string{"h": "broken.h", "s": "stdio.h", "n": "none.h"}, Functions: map[string]string{"f": "printf"}})
	if want := map[string]string{"n": "no", "s": "yes", "f": "yes"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, flags := range []string{"-no-such-flag-at-all", "-Wl,--no-such-flag"} {
		got, err := compiler(t, "cc", flags).Answer(t.Context(), Questions{Functions: map[string]string{"f": "printf", "g": "no_such_function"}})
		if err != nil || len(got) != 0 {
			t.Errorf("%s: got %v, %v", flags, got, err)
		}
	}
	if got, err := compiler(t, "false").Answer(t.Context(), Scan(script)); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCacheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.cache")
	answers := map[string]string{"ac_cv_func_x": "yes", "ac_cv_path_EGREP": "/usr/bin/grep -E", "lt_cv_prog_compiler_pic": "-fPIC -DPIC", "ac_cv_prog_cc_stdc": ""}
	if err := Write(name, answers); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(name); err != nil || !maps.Equal(got, answers) {
		t.Errorf("got %v, %v", got, err)
	}
	text := "# comment\nac_cv_env_CC_value=${ac_cv_env_CC_value='cc'}\nac_cv_a=${ac_cv_a=yes}\nac_cv_b=${ac_cv_c=yes}\n" +
		"lt_cv_sys=${lt_cv_sys='a '\"'\"'b'}\ntest ${lt_cv_t+y} || lt_cv_t='x'\nac_cv_multi=${ac_cv_multi='a\nb'}\nPATH=${PATH='/evil'}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(name); err != nil || !maps.Equal(got, map[string]string{"ac_cv_a": "yes"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := Read(name + ".none"); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}
