//go:build unix

package toolchain

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/target"
)

// crossCC is a compiler for a machine, with its own libgcc.
func crossCC(t *testing.T, bin, name, triple string, clang bool) {
	t.Helper()
	libgcc := filepath.Join(t.TempDir(), "libgcc.a")
	if err := os.WriteFile(libgcc, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	macros := ""
	if clang {
		macros = "#define __clang__ 1"
	}
	program(t, bin, name, `
case "$*" in
*-dumpmachine*) case "$*" in *--target=*) for a; do case $a in --target=*) echo ${a#--target=} ;; esac; done ;; *) echo `+triple+` ;; esac ;;
*-print-libgcc-file-name*) echo `+libgcc+` ;;
*--version*) echo "`+name+` 1.0" ;;
*-dM*) cat >/dev/null; echo "`+macros+` " ;;
*) while [ $# -gt 1 ]; do [ "$1" = -o ] && : >"$2"; shift; done ;;
esac
`)
}

// other is a CPU that this machine does not have.
func other() (arch, machine string) {
	if runtime.GOARCH == "arm64" {
		return "amd64", "x86_64"
	}
	return "arm64", "aarch64"
}

func findFor(t *testing.T, to target.Target, env ...string) (*Toolchain, error) {
	t.Helper()
	return FindFor(t.Context(), &run.Runner{}, env, t.TempDir(), For{
		Target: to, Root: "/the/root", Roots: []string{"/the/work"}, Digest: "abc",
		Command: func(words []string, clang bool, libgcc string) ([]string, error) {
			if libgcc == "" {
				t.Error("no libgcc")
			}
			return append(slices.Clone(words), "--sysroot=/the/root", "-specs=/the/work/specs"), nil
		},
	})
}

func TestFindFor(t *testing.T) {
	arch, machine := other()
	to := target.Target{OS: target.Linux, Arch: arch, Libc: target.Glibc, LibcVersion: "2.28"}
	own := target.Target{OS: target.Linux, Arch: runtime.GOARCH, Libc: target.Musl, LibcVersion: "1.2"}
	native := slices.Collect(func(yield func(string) bool) {
		for name, goarch := range machines {
			if goarch == runtime.GOARCH && !yield(name+"-linux-gnu") {
				return
			}
		}
	})[0]
	for name, c := range map[string]struct {
		to   target.Target
		make func(bin string)
		cc   string
		want string // the first word of the command
	}{
		"cross gcc": {to, func(bin string) { crossCC(t, bin, machine+"-linux-gnu-gcc", machine+"-linux-gnu", false) }, "", machine + "-linux-gnu-gcc"},
		"native gcc is no use": {to, func(bin string) {
			crossCC(t, bin, "cc", native, false)
			crossCC(t, bin, machine+"-linux-gnu-gcc", machine+"-linux-gnu", false)
		}, "", machine + "-linux-gnu-gcc"},
		"clang":    {to, func(bin string) { crossCC(t, bin, "clang", native, true) }, "", "clang"},
		"CC":       {to, func(bin string) { crossCC(t, bin, "mine", machine+"-linux-gnu", false) }, "mine", "mine"},
		"same CPU": {own, func(bin string) { crossCC(t, bin, "cc", native, false) }, "", "cc"},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			c.make(bin)
			env := []string{path(t, bin)}
			if c.cc != "" {
				env = append(env, "CC="+c.cc)
			}
			h, err := findFor(t, c.to, env...)
			if err != nil {
				t.Fatal(err)
			}
			if h.CC[0] != c.want || h.Target != c.to.Triple() || h.Cross != c.to.Triple() || h.Sysroot != "abc" || h.Root != "/the/root" {
				t.Errorf("got %+v", h)
			}
			if want := c.to.Libc + " " + c.to.LibcVersion; h.Libc != want {
				t.Errorf("libc %q, want %q", h.Libc, want)
			}
			if c.want == "clang" && !slices.Contains(h.CC, "--target="+c.to.Triple()) {
				t.Errorf("clang without a target: %q", h.CC)
			}
			// Two runs have their sysroots in different directories.
			if got := h.Portable("cc -specs=/the/work/specs -I/the/root/usr/include"); strings.Contains(got, "/the/") {
				t.Errorf("%q has a path", got)
			}
			if slices.ContainsFunc(h.Programs, func(p string) bool { return strings.HasPrefix(p, "specs ") }) {
				t.Errorf("%q has the specs file, whose content depends on the directory", h.Programs)
			}
		})
	}
}

func TestFindForRefuses(t *testing.T) {
	arch, machine := other()
	to := target.Target{OS: target.Linux, Arch: arch, Libc: target.Glibc, LibcVersion: "2.28"}
	debian := "gcc-" + strings.ReplaceAll(machine, "_", "-") + "-linux-gnu"
	bin := t.TempDir()
	crossCC(t, bin, "wrong", "s390x-linux-gnu", false)
	crossCC(t, bin, "mute", "", false)
	for name, c := range map[string]struct {
		env  []string
		says string
		hint string
	}{
		"nothing there": {nil, "no C compiler for linux/" + arch + "/glibc2.28", debian},
		"another CPU":   {[]string{"CC=wrong"}, `the compiler "wrong" generates code for s390x-linux-gnu, not for linux/` + arch, debian},
		"CC not there":  {[]string{"CC=absent -O1"}, `the program "absent" was not found`, "unset it"},
		"mute":          {[]string{"CC=mute"}, "does not report its target", "set CC"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := findFor(t, to, append(c.env, path(t, bin))...)
			if err == nil {
				t.Fatalf("found %+v", h)
			}
			if fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: %v", fault.ClassOf(err), err)
			}
			if hint := fault.HintOf(err); !strings.Contains(hint, c.hint) {
				t.Errorf("hint %q does not contain %q", hint, c.hint)
			}
		})
	}
}
