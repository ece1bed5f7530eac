package toolchain

import (
	"runtime"
	"strings"
)

// machines maps processor names in compiler targets to Go's names.
var machines = map[string]string{
	"x86_64": "amd64", "amd64": "amd64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
	"aarch64": "arm64", "arm64": "arm64", "riscv64": "riscv64", "s390x": "s390x", "powerpc64le": "ppc64le", "ppc64le": "ppc64le", "loongarch64": "loong64",
}

// crossTarget returns the target if its programs are not expected to run on a machine of
// Go's arch, otherwise "". It does not try, because an emulator registered in the kernel
// would run them. A processor missing from the table counts as a different one only if
// this machine's is in the table.
func crossTarget(target, arch string) string {
	machine, _, _ := strings.Cut(target, "-")
	of := machines[machine]
	if strings.HasPrefix(machine, "arm") && of == "" {
		of = "arm"
	}
	if of == arch {
		return ""
	}
	if of == "" { // an unknown name: a different processor, if this machine's is known
		for _, ours := range machines {
			if ours == arch {
				return target
			}
		}
		return ""
	}
	return target
}

// BuildMachine returns this machine in the form of configure's --build.
func BuildMachine() string {
	for _, name := range []string{"x86_64", "i686", "aarch64", "riscv64", "s390x", "powerpc64le", "loongarch64"} {
		if machines[name] == runtime.GOARCH {
			return name + "-pc-linux-gnu"
		}
	}
	return runtime.GOARCH + "-pc-linux-gnu"
}
