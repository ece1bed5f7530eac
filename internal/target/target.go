// Package target has the systems that a build can be for: what users write for them
// (linux/arm64/glibc2.28), and the names that compilers, Debian, Python and wheels have
// for the same system. It does not know where a build's headers and libraries come from
// (internal/sysroot), nor which compilers can generate code for it (internal/toolchain).
package target

import (
	"debug/elf"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// The operating systems.
const (
	Linux   = "linux"
	Windows = "windows"
)

// The C libraries of Linux.
const (
	Glibc = "glibc"
	Musl  = "musl"
)

// Target is a system that a build is for. It is comparable.
type Target struct {
	OS          string // Linux or Windows
	Arch        string // as Go names it: "amd64", "arm64", "arm", "386", "riscv64", ...
	Variant     string // "v7" for arm, else ""
	Libc        string // Glibc or Musl; "" for Windows
	LibcVersion string // the oldest that the result runs with: "2.28", "1.2"; "" for Windows
}

// cpu has the names of a processor on Linux.
type cpu struct {
	arch    string // ours: with the variant
	gnu     string // in GNU's triples
	abi     string // after "gnu" and "musl" in triples
	debian  string
	machine string // uname -m
	class   elf.Class
	elf     elf.Machine
	big     bool   // big endian
	qemu    string // qemu-NAME
	glibc   string // first version for it
	wheel   string // name in platform tags of wheels, which pip derives from uname -m
}

var cpus = []cpu{
	{"amd64", "x86_64", "", "amd64", "x86_64", elf.ELFCLASS64, elf.EM_X86_64, false, "x86_64", "2.2.5", "x86_64"},
	{"arm64", "aarch64", "", "arm64", "aarch64", elf.ELFCLASS64, elf.EM_AARCH64, false, "aarch64", "2.17", "aarch64"},
	{"arm/v7", "arm", "eabihf", "armhf", "armv7l", elf.ELFCLASS32, elf.EM_ARM, false, "arm", "2.4", "armv7l"},
	{"386", "i386", "", "i386", "i686", elf.ELFCLASS32, elf.EM_386, false, "i386", "2.0", "i686"},
	{"riscv64", "riscv64", "", "riscv64", "riscv64", elf.ELFCLASS64, elf.EM_RISCV, false, "riscv64", "2.27", "riscv64"},
	{"ppc64le", "powerpc64le", "", "ppc64el", "ppc64le", elf.ELFCLASS64, elf.EM_PPC64, false, "ppc64le", "2.17", "ppc64le"},
	{"s390x", "s390x", "", "s390x", "s390x", elf.ELFCLASS64, elf.EM_S390, true, "s390x", "2.2", "s390x"},
}

// cpu returns the names of the target's processor, or nil.
func (t Target) cpu() *cpu {
	name := t.Arch
	if t.Variant != "" {
		name += "/" + t.Variant
	}
	i := slices.IndexFunc(cpus, func(c cpu) bool { return c.arch == name })
	if i < 0 {
		return nil
	}
	return &cpus[i]
}

// spellings are other names of processors that people write.
var spellings = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armhf": "arm/v7", "i686": "386", "i386": "386", "ppc64el": "ppc64le"}

const known = "linux/amd64, linux/arm64, linux/arm/v7, linux/386, linux/riscv64, linux/ppc64le and linux/s390x, each with /glibc2.N or /musl1.N if it is not this machine's libc, and windows/amd64"

var libcForm = regexp.MustCompile(`^(glibc|musl)([0-9]+\.[0-9]+)(?:\.[0-9]+)?$`)

// Parse reads OS/ARCH[/LIBC]: "linux/arm64/glibc2.28", "linux/arm/v7", "windows/amd64".
// Without a libc, it is the one of host. Errors are of class Usage.
func Parse(text string, host Target) (Target, error) {
	words := strings.Split(strings.TrimSpace(text), "/")
	refuse := refusal(text)
	if len(words) < 2 || slices.Contains(words, "") {
		return refuse("give OS/ARCH or OS/ARCH/LIBC, as in linux/arm64/glibc2.28; the targets are "+known, "not of the form OS/ARCH[/LIBC]")
	}
	switch words[0] {
	case Linux:
		return parseLinux(text, words[1], words[2:], host)
	case Windows:
		if words[1] != "amd64" {
			return refuse("mod_wsgi is built for windows/amd64 only", "unsupported processor %q of Windows", words[1])
		}
		if len(words) > 2 {
			return refuse("leave out "+strings.Join(words[2:], "/"), "Windows has no choice of C libraries")
		}
		return Target{OS: Windows, Arch: "amd64"}, nil
	case "darwin", "macos", "macosx", "osx":
		return refuse("the targets are "+known, "nothing can be built for macOS, on any machine")
	}
	return refuse("the targets are "+known, "unknown operating system %q", words[0])
}

// refusal returns a function that makes errors about a target as it was written.
func refusal(text string) func(hint, format string, args ...any) (Target, error) {
	return func(hint, format string, args ...any) (Target, error) {
		return Target{}, fault.New(fault.Usage, hint, "target %q: %s", text, fmt.Sprintf(format, args...))
	}
}

// parseLinux reads the parts after the system.
func parseLinux(text, arch string, rest []string, host Target) (Target, error) {
	refuse := refusal(text)
	if arch == "arm" && (len(rest) == 0 || rest[0] != "v7") {
		return refuse("write linux/arm/v7: other 32-bit ARM processors are not supported", "the processor needs its variant")
	}
	if other := spellings[arch]; other != "" {
		arch = other
	}
	t := Target{OS: Linux}
	t.Arch, t.Variant, _ = strings.Cut(arch, "/")
	if len(rest) > 0 && (rest[0] == "v7" && t.Arch == "arm" || rest[0] == "v8" && t.Arch == "arm64") {
		if t.Arch == "arm" { // that of arm64 is the only one
			t.Variant = rest[0]
		}
		rest = rest[1:]
	}
	c := t.cpu()
	switch {
	case c == nil:
		return refuse("the targets are "+known, "unknown processor %q", t.Arch)
	case len(rest) > 1:
		return refuse("the targets are "+known, "too many parts")
	case len(rest) == 0 && host.OS != Linux:
		return refuse("add the libc, as in "+text+"/glibc2.28", "this machine has no libc of Linux to take as a default")
	case len(rest) == 0:
		t.Libc, t.LibcVersion = host.Libc, host.LibcVersion
	default:
		m := libcForm.FindStringSubmatch(rest[0])
		if m == nil {
			return refuse("give the C library and its oldest version, as in glibc2.28 or musl1.2", "unknown C library %q", rest[0])
		}
		t.Libc, t.LibcVersion = m[1], m[2]
	}
	return t, t.checkLibc(text, c)
}

// The oldest versions that anything is built for.
const (
	oldestGlibc = "2.17"
	oldestMusl  = "1.2"
)

func (t Target) checkLibc(text string, c *cpu) error {
	oldest := oldestGlibc
	switch {
	case t.Libc == Musl:
		oldest = oldestMusl
	case Compare(c.glibc, oldest) > 0:
		oldest = c.glibc
	}
	major, _, _ := strings.Cut(oldest, ".")
	is, _, _ := strings.Cut(t.LibcVersion, ".")
	if Compare(t.LibcVersion, oldest) < 0 || is != major {
		return fault.New(fault.Usage, fmt.Sprintf("the oldest is %s%s", t.Libc, oldest), "target %q: %s %s is not supported on %s", text, t.Libc, t.LibcVersion, t.Arch)
	}
	return nil
}

// String returns what Parse reads.
func (t Target) String() string {
	text := t.OS + "/" + t.Arch
	if t.Variant != "" {
		text += "/" + t.Variant
	}
	if t.Libc != "" {
		text += "/" + t.Libc + t.LibcVersion
	}
	return text
}

// Native reports whether what is built for the target runs on a machine like host
// without an emulator.
func (t Target) Native(host Target) bool {
	return t.OS == host.OS && t.Arch == host.Arch && t.Libc == host.Libc && (t.Libc == "" || Compare(t.LibcVersion, host.LibcVersion) <= 0)
}

// Compare compares dotted numbers: negative, zero or positive.
func Compare(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if d := number(x) - number(y); d != 0 {
			return d
		}
	}
	return 0
}

// number reads leading digits.
func number(s string) (n int) {
	for _, r := range s {
		if r < '0' || r > '9' || n > 1e6 {
			break
		}
		n = n*10 + int(r-'0')
	}
	return n
}
