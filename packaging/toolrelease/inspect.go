package toolrelease

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// Inspect checks every program in every archive of a release without running any, and
// writes a line for each. A program must exist, be for the platform in the archive's
// name, be static, contain that version and commit, and contain no path of the machine
// that built it.
func Inspect(dist string, out io.Writer) error {
	archives, err := Archives(dist)
	if err != nil {
		return err
	}
	version := Version(archives)
	for _, p := range Platforms {
		binaries, err := Binaries(archives[p])
		if err != nil {
			return err
		}
		var names []string
		for _, b := range binaries {
			names = append(names, b.Program())
		}
		if want := slices.Sorted(slices.Values(p.Programs())); !slices.Equal(names, want) {
			return fault.New(fault.Environment, "", "%s contains the programs %q, not %q", filepath.Base(archives[p]), names, want)
		}
		for _, b := range binaries {
			what, err := inspect(b, p, version)
			if err != nil {
				return fault.New(fault.Environment, "", "%s in %s: %w", b.Name, filepath.Base(archives[p]), err)
			}
			if _, err := fmt.Fprintf(out, "%-14s %-20s %s, %d bytes\n", p, b.Name, what, len(b.Data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// inspect checks one program and describes it.
func inspect(b Binary, p Platform, version string) (string, error) {
	what, err := machine(b.Data, p)
	if err != nil {
		return "", err
	}
	info, err := buildinfo.Read(bytes.NewReader(b.Data))
	if err != nil {
		return "", err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"GOOS": p.OS, "GOARCH": p.Arch, "CGO_ENABLED": "0", "-trimpath": "true"} {
		if settings[key] != want {
			return "", fmt.Errorf("it was built with %s=%q, not %q", key, settings[key], want)
		}
	}
	if want := "modwsgi/cmd/" + b.Program(); info.Path != want {
		return "", fmt.Errorf("it is %s, not %s", info.Path, want)
	}
	if !bytes.Contains(b.Data, []byte(version)) {
		return "", fmt.Errorf("it does not contain the version %s", version)
	}
	return what + ", " + info.GoVersion, nil
}

// machine reads an executable's target from its format's header, rather than trusting
// Go's record.
func machine(data []byte, p Platform) (string, error) {
	r := bytes.NewReader(data)
	switch p.OS {
	case "linux":
		f, err := elf.NewFile(r)
		if err != nil {
			return "", err
		}
		if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[p.Arch]; f.Machine != want {
			return "", fmt.Errorf("it is for %v", f.Machine)
		}
		for _, prog := range f.Progs {
			if prog.Type == elf.PT_INTERP {
				return "", fmt.Errorf("it is not static")
			}
		}
		return "static ELF " + strings.TrimPrefix(f.Machine.String(), "EM_"), nil
	case "darwin":
		f, err := macho.NewFile(r)
		if err != nil {
			return "", err
		}
		if want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[p.Arch]; f.Cpu != want {
			return "", fmt.Errorf("it is for %v", f.Cpu)
		}
		return "Mach-O " + f.Cpu.String(), nil
	}
	f, err := pe.NewFile(r)
	if err != nil {
		return "", err
	}
	if want := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}[p.Arch]; f.Machine != want {
		return "", fmt.Errorf("it is for machine %#x", f.Machine)
	}
	return fmt.Sprintf("PE %#x", f.Machine), nil
}
