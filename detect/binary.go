package detect

import (
	"bytes"
	"debug/macho"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/libpython"
	"modwsgi/internal/pe"
)

// notBinary returns the reason why a path is not a binary program, "" if it is one.
func (d *Disk) notBinary(path string) string {
	info, err := d.stat(path)
	if err != nil {
		return "it does not exist"
	}
	if !info.Mode().IsRegular() {
		return "it is not a file"
	}
	start := d.head(path, 4)
	switch {
	case string(start) == "\x7fELF", isMachO(start), strings.HasPrefix(string(start), "MZ"):
	case strings.HasPrefix(string(start), "#!"):
		return "it is a script"
	case len(start) == 0:
		return "it is empty or cannot be read"
	default:
		return "it is not a binary program"
	}
	if !d.windows() && !executable(info) {
		return "it is not executable"
	}
	return ""
}

// mayBePython reports whether a program could be an interpreter, so that one that only
// has the name is not run. CPython is linked with a libpython, or exports the C API to
// its extension modules; a statically linked and stripped one still contains the names
// of its environment variables. Formats other than ELF are not inspected.
func (d *Disk) mayBePython(path string) bool {
	f, err := d.elf(path)
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil || exportsPython(f) || slices.ContainsFunc(facts.Needed, func(n string) bool {
		return strings.HasPrefix(n, "libpython") || strings.HasPrefix(n, "libpypy")
	}) {
		return true
	}
	data, err := f.ReadOnlyData()
	return err == nil && bytes.Contains(data, []byte("PYTHON"))
}

// isZip reports whether a file ends like a zip archive, whatever it begins with (the
// record "end of central directory" of APPNOTE.TXT, 4.3.16): zipapps, and the output
// of pex and shiv.
func (d *Disk) isZip(path string) bool {
	f, err := d.open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	const longest = 22 + 1<<16 // the record and its comment
	begin := max(0, f.size-longest)
	data, _ := io.ReadAll(io.NewSectionReader(f, begin, f.size-begin))
	return bytes.Contains(data, []byte("PK\x05\x06"))
}

// machines lists the CPUs that a program or library is for: one, or several for a
// universal binary of macOS, or none for other files.
func (d *Disk) machines(path string) []string {
	start := d.head(path, 4)
	switch {
	case string(start) == "\x7fELF":
		if facts, err := d.elfFacts(path); err == nil {
			return []string{facts.Machine}
		}
	case pe.Is(start):
		if facts, err := d.pe(path); err == nil {
			return []string{machineName(facts.Machine)}
		}
	case isMachO(start):
		if files, err := d.machO(path); err == nil {
			var out []string
			for _, m := range files {
				out = append(out, m.machine)
			}
			return out
		}
	}
	return nil
}

// machineName spells a CPU as sysconfig.get_platform does on Windows ("win-amd64").
func machineName(windows string) string {
	return map[string]string{"AMD64": "amd64", "ARM64": "arm64", "x86": "win32"}[windows]
}

func (d *Disk) pe(path string) (*pe.Facts, error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	facts, err := pe.Read(f, f.size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return facts, nil
}

func (d *Disk) archive(path string) (*elf.Archive, error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	a, err := elf.NewArchive(f, f.size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return a, nil
}

// archiveVersion is the Python version in a static libpython, "" if it is unknown.
func (d *Disk) archiveVersion(path, want string) string {
	f, err := d.open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	return libpython.VersionInArchive(f, f.size, want)
}

// image is the relevant part of one CPU's slice of a Mach-O file.
type image struct {
	machine string
	kind    macho.Type
	text    []byte // its constant text
}

const (
	maxMachO  = 256 << 20 // limit in bytes of an inspected Mach-O file
	maxImages = 8         // limit of the slices of a universal binary
	maxText   = 16 << 20  // limit in bytes of a text section
)

// machO reads a Mach-O file, thin or universal. debug/macho limits the lengths in load
// commands to the size of the file.
func (d *Disk) machO(path string) (images []image, err error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if f.size > maxMachO {
		return nil, fmt.Errorf("read %s: it is longer than %d bytes", path, maxMachO)
	}
	src := io.NewSectionReader(f, 0, f.size)
	fat, err := macho.NewFatFile(src)
	if err == nil {
		if len(fat.Arches) > maxImages {
			return nil, fmt.Errorf("read %s: more than %d parts", path, maxImages)
		}
		for _, arch := range fat.Arches {
			images = append(images, imageOf(arch.File, f.size))
		}
		return images, nil
	}
	if !errors.Is(err, macho.ErrNotFat) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	thin, err := macho.NewFile(src)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return []image{imageOf(thin, f.size)}, nil
}

func imageOf(f *macho.File, size int64) image {
	out := image{machine: map[macho.Cpu]string{macho.CpuAmd64: "x86_64", macho.CpuArm64: "arm64", macho.Cpu386: "i386"}[f.Cpu], kind: f.Type}
	if s := f.Section("__cstring"); s != nil && s.Size <= maxText && int64(s.Size) <= size {
		out.text, _ = s.Data()
	}
	return out
}

// checkDLL is checkShared for Windows: a module loads python312.dll and is linked with
// libs\python312.lib.
func (p *Python) checkDLL(d *Disk, path string) (lib, why string) {
	facts, err := d.pe(path)
	switch {
	case err != nil:
		return "", err.Error()
	case !facts.DLL:
		return "", "it is not a library"
	case p.Machine != "" && machineName(facts.Machine) != p.Machine:
		return "", "it is for " + machineName(facts.Machine) + ", the interpreter is for " + p.Machine
	case !facts.Exporting("Py_InitializeEx"):
		return "", "it does not contain the interpreter"
	}
	// The third number is the patch level times a thousand plus the release level
	// (https://github.com/python/cpython/blob/main/PC/python_ver_rc.h).
	if v := facts.Version; v[0] != 0 {
		if found := fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]/1000); !strings.HasPrefix(p.Version, found) {
			return "", "it is of Python " + found
		}
	}
	return path, ""
}

// checkDylib is checkShared for macOS.
func (p *Python) checkDylib(d *Disk, path string) (lib, why string) {
	images, err := d.machO(path)
	if err != nil {
		return "", err.Error()
	}
	if len(images) == 0 {
		return "", "it has no slice for any CPU"
	}
	i := slices.IndexFunc(images, func(m image) bool { return p.Machine == "" || m.machine == p.Machine })
	if i < 0 {
		return "", "it is for " + images[0].machine + ", the interpreter is for " + p.Machine
	}
	if images[i].kind != macho.TypeDylib {
		return "", "it is not a shared library"
	}
	found := elf.VersionsIn(images[i].text, "", fmt.Sprintf("%d.%d.", p.Major, p.Minor))
	if len(found) > 0 && !slices.Contains(found, p.Version) {
		return "", "it is of Python " + found[0]
	}
	return path, ""
}

// importLibrary returns the library that modules are linked with on Windows.
func (p *Python) importLibrary(d *Disk, dll string) string {
	stem := strings.TrimSuffix(filepath.Base(dll), filepath.Ext(dll))
	if lib := filepath.Join(p.BasePrefix, "libs", stem+".lib"); d.isFile(lib) {
		return lib
	}
	return ""
}

func exportsPython(f *elf.File) bool {
	return f.Exports("Py_InitializeEx") || f.Exports("Py_Initialize")
}
