package toolchain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCrossTarget(t *testing.T) {
	for target, want := range map[string]string{
		"x86_64-linux-gnu": "", "x86_64-pc-linux-musl": "", "aarch64-linux-gnu": "aarch64-linux-gnu", "i686-linux-gnu": "i686-linux-gnu",
		"arm-linux-gnueabihf": "arm-linux-gnueabihf", "armv7l-linux": "armv7l-linux", "mips64el-linux-gnuabi64": "mips64el-linux-gnuabi64",
	} {
		if got := crossTarget(target, "amd64"); got != want {
			t.Errorf("%s: got %q", target, got)
		}
	}
	for target, arch := range map[string]string{"aarch64-linux-gnu": "arm64", "armv7l-linux-gnueabihf": "arm", "mips-linux-gnu": "mips", "powerpc64le-linux-gnu": "ppc64le"} {
		if got := crossTarget(target, arch); got != "" {
			t.Errorf("%s on %s: got %q", target, arch, got)
		}
	}
	if !strings.HasSuffix(BuildMachine(), "-linux-gnu") {
		t.Error(BuildMachine())
	}
}

func TestTool(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"aarch64-linux-gnu-ar", "ar"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for cc, want := range map[string]string{"aarch64-linux-gnu-gcc": "aarch64-linux-gnu-ar", "ccache /x/aarch64-linux-gnu-gcc -O1": "aarch64-linux-gnu-ar", "gcc": "ar", "arm-none-gcc": "ar", "ccache cc": "ar"} {
		h := &Toolchain{CC: strings.Fields(cc), Env: []string{"PATH=" + dir}}
		if got := h.Tool("ar"); got != want {
			t.Errorf("%s: got %s", cc, got)
		}
	}
}
