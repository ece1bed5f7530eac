package target_test

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/internal/testkit"
)

var host = target.Target{OS: "linux", Arch: "amd64", Libc: "glibc", LibcVersion: "2.36"}

func parse(t *testing.T, text string) target.Target {
	t.Helper()
	got, err := target.Parse(text, host)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

func TestParse(t *testing.T) {
	for text, want := range map[string]target.Target{
		"linux/amd64/glibc2.28":    {OS: "linux", Arch: "amd64", Libc: "glibc", LibcVersion: "2.28"},
		"linux/arm64/glibc2.17":    {OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.17"},
		"linux/arm64/v8/glibc2.17": {OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.17"},
		"linux/arm64/musl1.2":      {OS: "linux", Arch: "arm64", Libc: "musl", LibcVersion: "1.2"},
		"linux/arm64/musl1.2.3":    {OS: "linux", Arch: "arm64", Libc: "musl", LibcVersion: "1.2"},
		"windows/amd64":            {OS: "windows", Arch: "amd64"},
		"linux/arm/v7":             {OS: "linux", Arch: "arm", Variant: "v7", Libc: "glibc", LibcVersion: "2.36"},
		"linux/arm/v7/musl1.2":     {OS: "linux", Arch: "arm", Variant: "v7", Libc: "musl", LibcVersion: "1.2"},
		"linux/riscv64":            {OS: "linux", Arch: "riscv64", Libc: "glibc", LibcVersion: "2.36"},
		" linux/aarch64 ":          {OS: "linux", Arch: "arm64", Libc: "glibc", LibcVersion: "2.36"},
		"linux/armv7l":             {OS: "linux", Arch: "arm", Variant: "v7", Libc: "glibc", LibcVersion: "2.36"},
	} {
		got := parse(t, text)
		if got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		if again := parse(t, got.String()); again != got {
			t.Errorf("%s prints %s, which is %+v", text, got, again)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, word := range map[string]string{
		"":                        "not of the form",
		"linux":                   "not of the form",
		"linux//glibc2.28":        "not of the form",
		"plan9/amd64":             "unknown operating system",
		"linux/sparc":             "unknown processor",
		"linux/arm":               "needs its variant",
		"linux/arm/v6":            "needs its variant",
		"windows/arm64":           "unsupported processor",
		"windows/amd64/glibc2.17": "no choice of C libraries",
		"darwin/arm64":            "macOS",
		"macos/arm64":             "macOS",
		"linux/amd64/glibc":       "unknown C library",
		"linux/amd64/uclibc1.0":   "unknown C library",
		"linux/amd64/glibc2.16":   "not supported",
		"linux/amd64/glibc3.1":    "not supported",
		"linux/amd64/musl1.1":     "not supported",
		"linux/riscv64/glibc2.17": "not supported",
		"linux/amd64/musl1.2/x":   "too many parts",
	} {
		_, err := target.Parse(text, host)
		testkit.WantFault(t, err, fault.Usage, word)
		if fault.HintOf(err) == "" {
			t.Errorf("%q: no hint", text)
		}
	}
	_, err := target.Parse("linux/amd64", target.Target{OS: "darwin", Arch: "arm64"})
	testkit.WantFault(t, err, fault.Usage, "no libc of Linux")
	if got, err := target.Parse("linux/amd64/glibc2.28", target.Target{OS: "darwin", Arch: "arm64"}); err != nil || got.LibcVersion != "2.28" {
		t.Errorf("on a Mac: %+v, %v", got, err)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]struct {
		triple, multiarch, debian, machine, platform, soabi, loader, qemu string
		tags                                                              []string
	}{
		"linux/amd64/glibc2.17": {"x86_64-linux-gnu", "x86_64-linux-gnu", "amd64", "x86_64", "linux-x86_64", "x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2", "qemu-x86_64", []string{"manylinux_2_17_x86_64", "manylinux2014_x86_64"}},
		"linux/arm64/glibc2.28": {"aarch64-linux-gnu", "aarch64-linux-gnu", "arm64", "aarch64", "linux-aarch64", "aarch64-linux-gnu", "/lib/ld-linux-aarch64.so.1", "qemu-aarch64", []string{"manylinux_2_28_aarch64"}},
		"linux/arm64/musl1.2":   {"aarch64-linux-musl", "aarch64-linux-gnu", "arm64", "aarch64", "linux-aarch64", "aarch64-linux-musl", "/lib/ld-musl-aarch64.so.1", "qemu-aarch64", []string{"musllinux_1_2_aarch64"}},
		"linux/arm/v7/musl1.2":  {"arm-linux-musleabihf", "arm-linux-gnueabihf", "armhf", "armv7l", "linux-armv7l", "arm-linux-musleabihf", "/lib/ld-musl-armhf.so.1", "qemu-arm", []string{"musllinux_1_2_armv7l"}},
		"linux/riscv64":         {"riscv64-linux-gnu", "riscv64-linux-gnu", "riscv64", "riscv64", "linux-riscv64", "riscv64-linux-gnu", "/lib/ld-linux-riscv64-lp64d.so.1", "qemu-riscv64", []string{"manylinux_2_36_riscv64"}},
		"windows/amd64":         {"x86_64-w64-mingw32", "", "", "x86_64", "win-amd64", "win_amd64", "", "", []string{"win_amd64"}},
	} {
		g := parse(t, text)
		if g.Triple() != want.triple || g.Multiarch() != want.multiarch || g.DebianArch() != want.debian || g.Machine() != want.machine ||
			g.PythonPlatform() != want.platform || g.SOABISuffix() != want.soabi || g.Loader() != want.loader || g.QEMU() != want.qemu || !slices.Equal(g.WheelTags(), want.tags) {
			t.Errorf("%s: %s %s %s %s %s %s %s %s %s", text, g.Triple(), g.Multiarch(), g.DebianArch(), g.Machine(), g.PythonPlatform(), g.SOABISuffix(), g.Loader(), g.QEMU(), g.WheelTags())
		}
	}
	for text, want := range map[string]string{
		"linux/amd64/musl1.2": "libc.musl-x86_64.so.1", "linux/arm64/musl1.2": "libc.musl-aarch64.so.1", "linux/arm/v7/musl1.2": "libc.musl-armv7.so.1", "linux/386/musl1.2": "libc.musl-x86.so.1",
		"linux/ppc64le/musl1.2": "libc.musl-ppc64le.so.1",
	} {
		if g := parse(t, text); target.MuslLoaderOf(g.Machine()) != g.Loader() {
			t.Errorf("%s: the loader %s, not %s", text, target.MuslLoaderOf(g.Machine()), g.Loader())
		}
		if got := parse(t, text).MuslName(); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if class, machine, order := parse(t, "linux/s390x").ELF(); class != elf.ELFCLASS64 || machine != elf.EM_S390 || order != binary.ByteOrder(binary.BigEndian) {
		t.Errorf("s390x: %v %v %v", class, machine, order)
	}
}

func TestNative(t *testing.T) {
	for text, want := range map[string]bool{
		"linux/amd64/glibc2.17": true, "linux/amd64": true, "linux/amd64/glibc2.41": false, "linux/amd64/musl1.2": false, "linux/arm64": false, "windows/amd64": false,
	} {
		if got := parse(t, text).Native(host); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"2.9", "2.34", -1}, {"2.34", "2.34", 0}, {"2.2.5", "2.2", 1}, {"1.2", "1.2.0", 0}, {"3", "2.99", 1}, {"", "1", -1}} {
		if got := target.Compare(c.a, c.b); got*c.want < 0 || (got == 0) != (c.want == 0) {
			t.Errorf("%s, %s: %d", c.a, c.b, got)
		}
	}
}

// The host's own libc, compared with what the C library itself reports.
func TestHost(t *testing.T) {
	got, err := target.Host()
	if runtime.GOOS != "linux" {
		if err != nil || got.Libc != "" {
			t.Errorf("%+v, %v", got, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !got.Native(got) || got.Arch != runtime.GOARCH || target.Compare(got.LibcVersion, "1") <= 0 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(got.Loader()); err != nil {
		t.Error(err)
	}
	_, err = target.HostAt(target.Target{OS: "linux", Arch: "amd64"}, t.TempDir())
	testkit.WantFault(t, err, fault.Environment, "neither glibc nor musl")
}
