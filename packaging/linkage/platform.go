package linkage

import (
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"modwsgi/internal/pe"
)

// platform is the platform of binaries in other formats than ELF.
type platform struct {
	machine string // of Windows: "amd64"; of macOS: "x86_64", "arm64"
	minimum [2]uint32
	mac     bool
	pe      bool
}

// look inspects one file; files that are not binaries are ignored.
func (p *platform) look(name, rel string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return nil // too short for a binary
	}
	switch {
	case pe.Is(magic[:]) && isProgramName(rel):
		return p.windows(f)
	case isMachO(magic):
		return p.macOS(f)
	}
	return nil
}

func isProgramName(rel string) bool {
	for _, end := range []string{".exe", ".dll", ".so", ".pyd"} {
		if strings.HasSuffix(strings.ToLower(rel), end) {
			return true
		}
	}
	return false
}

func (p *platform) windows(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	facts, err := pe.Read(f, info.Size())
	if err != nil {
		return err
	}
	return p.same(strings.ToLower(facts.Machine), func() { p.pe = true })
}

func (p *platform) same(machine string, note func()) error {
	if p.machine != "" && p.machine != machine {
		return fmt.Errorf("is for %s, not for %s", machine, p.machine)
	}
	p.machine = machine
	note()
	return nil
}

func isMachO(magic [4]byte) bool {
	le := binary.LittleEndian.Uint32(magic[:])
	return le == macho.Magic64 || le == macho.Magic32
}

// Load commands that debug/macho does not know (mach-o/loader.h).
const (
	loadVersionMin   = 0x24 // LC_VERSION_MIN_MACOSX
	loadBuildVersion = 0x32 // LC_BUILD_VERSION
)

// macOS reads the CPU, the oldest system that a file runs on, and the libraries that
// it loads, which must be system libraries or next to it.
func (p *platform) macOS(f *os.File) error {
	m, err := macho.NewFile(f)
	if err != nil {
		return err
	}
	machine := map[macho.Cpu]string{macho.CpuAmd64: "x86_64", macho.CpuArm64: "arm64"}[m.Cpu]
	if machine == "" {
		return fmt.Errorf("is for the CPU %v, which has no wheels", m.Cpu)
	}
	libraries, err := m.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, l := range libraries {
		if !strings.HasPrefix(l, "/usr/lib/") && !strings.HasPrefix(l, "/System/") && !strings.HasPrefix(l, "@") {
			return fmt.Errorf("needs %s, which is missing on some systems", l)
		}
	}
	found := false
	for _, l := range m.Loads {
		raw := l.Raw()
		if len(raw) < 16 {
			continue
		}
		var version uint32
		switch m.ByteOrder.Uint32(raw) {
		case loadVersionMin:
			version = m.ByteOrder.Uint32(raw[8:])
		case loadBuildVersion:
			version = m.ByteOrder.Uint32(raw[12:])
		default:
			continue
		}
		found = true
		v := [2]uint32{version >> 16, version >> 8 & 0xff}
		if v[0] > p.minimum[0] || v[0] == p.minimum[0] && v[1] > p.minimum[1] {
			p.minimum = v
		}
	}
	if !found {
		return errors.New("does not name its macOS version")
	}
	return p.same(machine, func() { p.mac = true })
}

// otherPlatform is the result for a tree without ELF files.
func (t *tree) otherPlatform() (*Result, error) {
	r, p := t.result, t.other
	switch {
	case p.pe && p.mac:
		return nil, problems{"it has binaries for Windows and for macOS"}.err(t.root, hint)
	case p.pe:
		tag := map[string]string{"amd64": "win_amd64", "arm64": "win_arm64", "x86": "win32"}[p.machine]
		if tag == "" {
			return nil, problems{"its binaries are for the CPU " + p.machine + ", which has no wheels"}.err(t.root, hint)
		}
		r.Tags = []string{tag}
	case p.mac:
		minor := p.minimum[1]
		if p.minimum[0] >= 11 {
			minor = 0 // since macOS 11 only the major number counts
		}
		r.Tags = []string{fmt.Sprintf("macosx_%d_%d_%s", p.minimum[0], minor, p.machine)}
	default:
		return nil, problems{"it contains no binary"}.err(t.root, hint)
	}
	r.Machine = p.machine
	return r, nil
}
