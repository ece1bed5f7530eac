package sysroot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"modwsgi/internal/target"
)

func def(version string, hidden bool) definition {
	return definition{version: version, hidden: hidden, Symbol: elf.Symbol{Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Value: 64, Size: 8}}
}

func TestUntil(t *testing.T) {
	for _, c := range []struct {
		name   string
		defs   []definition
		wanted string
		want   string // the default, "" for none
		kept   int
	}{
		{"the newest that is old enough", []definition{def("GLIBC_2.2.5", true), def("GLIBC_2.29", false)}, "2.17", "GLIBC_2.2.5", 1},
		{"the newest", []definition{def("GLIBC_2.2.5", true), def("GLIBC_2.14", false)}, "2.17", "GLIBC_2.14", 2},
		{"in any order", []definition{def("GLIBC_2.14", false), def("GLIBC_2.2.5", true)}, "2.17", "GLIBC_2.14", 2},
		{"too new", []definition{def("GLIBC_2.25", false)}, "2.17", "", 0},
		{"exactly", []definition{def("GLIBC_2.17", false)}, "2.17", "GLIBC_2.17", 1},
		{"only for old programs", []definition{def("GLIBC_2.2.5", true)}, "2.17", "", 1},
		{"private", []definition{def("GLIBC_PRIVATE", false)}, "2.17", "", 0},
		{"of libcrypt, and of glibc", []definition{def("GLIBC_2.2.5", true), def("XCRYPT_2.0", false)}, "2.17", "GLIBC_2.2.5", 2},
		{"of libcrypt only", []definition{def("XCRYPT_2.0", false)}, "2.17", "XCRYPT_2.0", 1},
	} {
		got, ok := symbol{"f", c.defs}.until(c.wanted)
		standard := ""
		for _, d := range got.defs {
			if !d.hidden {
				standard += d.version
			}
		}
		if standard != c.want || len(got.defs) != c.kept || ok != (c.kept > 0) {
			t.Errorf("%s: %q of %d, %v", c.name, standard, len(got.defs), ok)
		}
	}
}

// Written files are read again with another implementation, for every form of ELF.
func TestEncode(t *testing.T) {
	for name, c := range map[string]struct {
		class   elf.Class
		data    elf.Data
		machine elf.Machine
		flags   uint32
	}{
		"amd64": {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_X86_64, 0}, "riscv64": {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_RISCV, 5},
		"arm": {elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_ARM, 0x5000400}, "s390x": {elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_S390, 0},
	} {
		t.Run(name, func(t *testing.T) {
			order := binary.ByteOrder(binary.LittleEndian)
			if c.data == elf.ELFDATA2MSB {
				order = binary.BigEndian
			}
			header := make([]byte, 64)
			copy(header, elf.ELFMAG+string([]byte{byte(c.class), byte(c.data), 1, 3}))
			order.PutUint16(header[18:], uint16(c.machine))
			at := 48
			if c.class == elf.ELFCLASS32 {
				at = 36
			}
			order.PutUint32(header[at:], c.flags)
			variable := def("GLIBC_2.2.5", false)
			variable.Info, variable.Size, variable.Value = elf.ST_INFO(elf.STB_WEAK, elf.STT_OBJECT), 24, 4096
			data := (&library{soname: "libx.so.6", header: header, symbols: []symbol{
				{"f", []definition{def("GLIBC_2.2.5", true), def("GLIBC_2.17", false)}}, {"environ", []definition{variable}}, {"bare", []definition{def("", false)}},
			}}).encode()
			f, err := elf.NewFile(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != c.machine || f.Class != c.class || order.Uint32(data[at:]) != c.flags || f.Type != elf.ET_DYN {
				t.Errorf("%+v", f.FileHeader)
			}
			if soname, err := f.DynString(elf.DT_SONAME); err != nil || !slices.Equal(soname, []string{"libx.so.6"}) {
				t.Errorf("SONAME %v, %v", soname, err)
			}
			symbols, err := f.DynamicSymbols()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range symbols {
				text := s.Name + "@" + s.Version
				if s.VersionIndex.IsHidden() {
					text += " hidden"
				}
				got = append(got, text)
			}
			if want := []string{"f@GLIBC_2.2.5 hidden", "f@GLIBC_2.17", "environ@GLIBC_2.2.5", "bare@"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if e := symbols[2]; e.Size != 24 || e.Value != 4096 || elf.ST_TYPE(e.Info) != elf.STT_OBJECT || elf.ST_BIND(e.Info) != elf.STB_WEAK || f.Sections[e.Section].Name != ".bss" {
				t.Errorf("environ is %+v", e)
			}
			versions, err := f.DynamicVersions()
			if err != nil || len(versions) != 3 || versions[0].Name != "libx.so.6" {
				t.Errorf("versions %v, %v", versions, err)
			}
		})
	}
}

// hostLibc returns the directory of this machine's glibc.
func hostLibc(t *testing.T) (target.Target, string) {
	t.Helper()
	host, err := target.Host()
	if err != nil || host.Libc != target.Glibc {
		t.Skip("needs a Linux with glibc")
	}
	real, err := filepath.EvalSymlinks(host.Loader())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(real), "/lib/" + host.Multiarch(), "/lib64", "/usr/lib64"} {
		if _, err := os.Stat(filepath.Join(dir, "libc.so.6")); err == nil {
			return host, dir
		}
	}
	t.Skip("libc.so.6 was not found")
	return host, ""
}

func TestStubOfTheHostsLibc(t *testing.T) {
	host, dir := hostLibc(t)
	lib, err := readLibrary(filepath.Join(dir, "libc.so.6"))
	if err != nil {
		t.Fatal(err)
	}
	host.LibcVersion = "2.27" // riscv64 begins there
	kept, missing := lib.filtered(host)
	for _, name := range []string{"statx", "fcntl64"} { // 2.28
		if !slices.Contains(missing, name) && runtime.GOARCH != "riscv64" {
			t.Errorf("%s is not reported as newer than %s", name, host.LibcVersion)
		}
	}
	for _, name := range []string{"printf", "getrandom", "memfd_create", "__libc_start_main"} {
		if slices.Contains(missing, name) {
			t.Errorf("%s is reported as newer than %s", name, host.LibcVersion)
		}
	}
	f, err := elf.NewFile(bytes.NewReader(kept.encode()))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil || len(symbols) < 1000 {
		t.Fatalf("%d symbols, %v", len(symbols), err)
	}
	standard := map[string]int{}
	for _, s := range symbols {
		if v, ok := age(s.Version); !ok || target.Compare(v, host.LibcVersion) > 0 {
			t.Errorf("%s@%s", s.Name, s.Version)
		}
		if !s.VersionIndex.IsHidden() {
			standard[s.Name]++
		}
	}
	if standard["printf"] != 1 || standard["memcpy"] != 1 || standard["environ"] != 1 {
		t.Errorf("printf %d, memcpy %d, environ %d", standard["printf"], standard["memcpy"], standard["environ"])
	}
	for name, n := range standard {
		if n > 1 {
			t.Errorf("%s has %d default versions", name, n)
		}
	}
}
