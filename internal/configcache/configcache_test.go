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
	got, err := compiler(t, "cc", "-O2").Answer(t.Context(), Scan(script))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ac_cv_header_stdio_h": "yes", "ac_cv_header_sys_types_h": "yes", "ac_cv_header_no_such_header_h": "no",
		"ac_cv_func_printf": "yes", "ac_cv_func_memmove": "yes", "ac_cv_func_no_such_function": "no", "ac_cv_sizeof_char": "1",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// If a header exists but does not compile, or the linker reports something else, the
// tests are left to the script.
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
	if want := map[string]string{"n": "no", "f": "yes"}; err != nil || !maps.Equal(got, want) {
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
