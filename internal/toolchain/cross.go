package toolchain

import (
	"runtime"
	"strings"
)

// machines maps the names of processors in compilers' targets to Go's.
var machines = map[string]string{
	"x86_64": "amd64", "amd64": "amd64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
	"aarch64": "arm64", "arm64": "arm64", "riscv64": "riscv64", "s390x": "s390x", "powerpc64le": "ppc64le", "ppc64le": "ppc64le", "loongarch64": "loong64",
}

// crossTarget returns the target where its programs cannot be expected to run on
// a machine of Go's arch, else "". It is not tried: an emulator in the kernel
// would run them, with another machine's answers. A processor that is not in the
// table is taken for another one only where this machine's is.
func crossTarget(target, arch string) string {
	machine, _, _ := strings.Cut(target, "-")
	of := machines[machine]
	if strings.HasPrefix(machine, "arm") && of == "" {
		of = "arm"
	}
	if of == arch {
		return ""
	}
	if of == "" { // a name that we do not know: another processor, if ours has one that we know
		for _, ours := range machines {
			if ours == arch {
				return target
			}
		}
		return ""
	}
	return target
}

// BuildMachine is this machine as configure's --build takes it.
func BuildMachine() string {
	for _, name := range []string{"x86_64", "i686", "aarch64", "riscv64", "s390x", "powerpc64le", "loongarch64"} {
		if machines[name] == runtime.GOARCH {
			return name + "-pc-linux-gnu"
		}
	}
	return runtime.GOARCH + "-pc-linux-gnu"
}
