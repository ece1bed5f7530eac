package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// Triple is GNU's name: "aarch64-linux-gnu", "arm-linux-gnueabihf", "x86_64-linux-musl",
// "x86_64-w64-mingw32".
func (t Target) Triple() string {
	if t.OS == Windows {
		return "x86_64-w64-mingw32"
	}
	c := t.cpu()
	if c == nil {
		return ""
	}
	return c.gnu + "-linux-" + t.libcName() + c.abi
}

func (t Target) libcName() string {
	if t.Libc == Musl {
		return "musl"
	}
	return "gnu"
}

// GNUTriple is the triple of the same processor with the GNU libc, which compilers of
// most distributions are for.
func (t Target) GNUTriple() string {
	t.Libc = Glibc
	return t.Triple()
}

// DebianArch is Debian's name of the processor: "amd64", "arm64", "armhf", "riscv64"; ""
// for Windows.
func (t Target) DebianArch() string {
	if c := t.cpu(); c != nil && t.OS == Linux {
		return c.debian
	}
	return ""
}

// Multiarch is the name of Debian's library directories for this processor:
// "x86_64-linux-gnu". It is the GNU triple, also if the libc is musl.
func (t Target) Multiarch() string {
	if t.OS != Linux {
		return ""
	}
	return t.GNUTriple()
}

// MultiarchOf is the name of Debian's library directories for a processor as uname -m names
// it: "arm-linux-gnueabihf" for "armv7l".
func MultiarchOf(machine string) string {
	for _, c := range cpus {
		if c.machine == machine {
			return c.gnu + "-linux-gnu" + c.abi
		}
	}
	return machine + "-linux-gnu"
}

// Machine is the processor as uname -m and internal/elf name it: "x86_64", "aarch64",
// "armv7l".
func (t Target) Machine() string {
	if c := t.cpu(); c != nil {
		return c.machine
	}
	return t.Arch
}

// ELF returns the fields of an ELF header for the processor.
func (t Target) ELF() (elf.Class, elf.Machine, binary.ByteOrder) {
	c := t.cpu()
	switch {
	case c == nil:
		return elf.ELFCLASSNONE, elf.EM_NONE, binary.LittleEndian
	case c.big:
		return c.class, c.elf, binary.BigEndian
	}
	return c.class, c.elf, binary.LittleEndian
}

// PythonPlatform is sysconfig.get_platform(): "linux-aarch64", "win-amd64".
func (t Target) PythonPlatform() string {
	if t.OS == Windows {
		return "win-amd64"
	}
	return "linux-" + t.Machine()
}

// SOABISuffix is the platform part of SOABI: "x86_64-linux-gnu", "aarch64-linux-musl".
// Pythons before 3.11 do not distinguish musl there.
func (t Target) SOABISuffix() string {
	if t.OS == Windows {
		return "win_amd64"
	}
	return t.Triple()
}

// legacy are the older names of some manylinux tags (PEP 600).
var legacy = map[string]string{"2.17": "manylinux2014", "2.12": "manylinux2010", "2.5": "manylinux1"}

// WheelTags are the platform tags of a wheel for the target, the preferred one first:
// "manylinux_2_17_x86_64", "manylinux2014_x86_64" (PEP 600, PEP 656).
func (t Target) WheelTags() []string {
	c := t.cpu()
	if t.OS == Windows {
		return []string{"win_amd64"}
	}
	if c == nil {
		return nil
	}
	kind := "manylinux"
	if t.Libc == Musl {
		kind = "musllinux"
	}
	tags := []string{fmt.Sprintf("%s_%s_%s", kind, strings.ReplaceAll(t.LibcVersion, ".", "_"), c.wheel)}
	if old := legacy[t.LibcVersion]; old != "" && t.Libc == Glibc && c.arch != "riscv64" {
		tags = append(tags, old+"_"+c.wheel)
	}
	return tags
}

// Loader is the path of the program interpreter (PT_INTERP) on the target.
func (t Target) Loader() string {
	c := t.cpu()
	if c == nil || t.OS != Linux {
		return ""
	}
	if t.Libc == Musl {
		return "/lib/ld-musl-" + map[string]string{"arm/v7": "armhf"}[c.arch] + map[bool]string{false: c.gnu}[c.arch == "arm/v7"] + ".so.1"
	}
	return map[string]string{
		"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1", "arm/v7": "/lib/ld-linux-armhf.so.3", "386": "/lib/ld-linux.so.2",
		"riscv64": "/lib/ld-linux-riscv64-lp64d.so.1", "ppc64le": "/lib64/ld64.so.2", "s390x": "/lib/ld64.so.1",
	}[c.arch]
}

// MuslName is the name by which programs need musl as Alpine builds them, which is the
// one that auditwheel knows: "libc.musl-x86_64.so.1". musl's loader takes every name that
// begins with "libc." for itself (musl, ldso/dynlink.c).
func (t Target) MuslName() string {
	if t.cpu() == nil {
		return ""
	}
	return MuslNameOf(t.Machine())
}

// MuslNameOf is that name for a processor as uname -m names it.
func MuslNameOf(machine string) string {
	if other := map[string]string{"armv7l": "armv7", "i686": "x86"}[machine]; other != "" { // Alpine's
		machine = other
	}
	return "libc.musl-" + machine + ".so.1"
}

// MuslLoaderOf is the path of musl's loader for a processor as uname -m names it.
func MuslLoaderOf(machine string) string {
	for _, c := range cpus {
		if c.machine == machine {
			t := Target{OS: Linux, Libc: Musl}
			t.Arch, t.Variant, _ = strings.Cut(c.arch, "/")
			return t.Loader()
		}
	}
	return "/lib/ld-musl-" + machine + ".so.1"
}

// QEMU is the name of the user-mode emulator, "qemu-aarch64"; "" for none.
func (t Target) QEMU() string {
	if c := t.cpu(); c != nil && t.OS == Linux {
		return "qemu-" + c.qemu
	}
	return ""
}
