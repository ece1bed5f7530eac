package windows

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
)

// msvc is Microsoft's compiler with a Windows SDK. This code has been tested only with
// fixtures; see docs/reference/platforms.md.
type msvc struct {
	cl, linker, lib string
	version         string // of the tools
	kit             string // version of the Windows SDK
	include, libs   []string
	env             []string
}

const msvcHint = "install the Build Tools for Visual Studio with \"Desktop development with C++\" (https://visualstudio.microsoft.com/visual-cpp-build-tools/)"

// findMSVC runs vswhere, which every Visual Studio since 2017 installs at the same
// path (https://github.com/microsoft/vswhere/wiki).
func findMSVC(ctx context.Context, q *Request) (tools, error) {
	programs := run.Getenv(q.Env, "ProgramFiles(x86)")
	if programs == "" {
		programs = `C:\Program Files (x86)`
	}
	vswhere := filepath.Join(programs, "Microsoft Visual Studio", "Installer", "vswhere.exe")
	out, err := q.Runner.Output(ctx, run.Cmd{
		Argv: []string{
			vswhere, "-latest", "-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64",
			"-format", "json", "-utf8",
		},
		Env: q.Env,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Environment, msvcHint, fmt.Errorf("find a compiler with vswhere: %w", err))
	}
	install, err := parseVSWhere(out)
	if err != nil {
		return nil, err
	}
	return locateMSVC(install, filepath.Join(programs, "Windows Kits", "10"), q)
}

// parseVSWhere returns the path of the newest complete Visual Studio.
func parseVSWhere(out []byte) (string, error) {
	var all []struct {
		InstallationPath string `json:"installationPath"`
		IsComplete       *bool  `json:"isComplete"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return "", fault.Wrap(fault.Environment, msvcHint, fmt.Errorf("read the output of vswhere: %w", err))
	}
	for _, v := range all {
		if v.InstallationPath != "" && (v.IsComplete == nil || *v.IsComplete) {
			return v.InstallationPath, nil
		}
	}
	return "", fault.New(fault.Environment, msvcHint, "no Visual Studio with a C compiler for x64 found")
}

var dotted = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)

// newest returns the directory below dir whose name is the highest version and that
// contains the given file.
func newest(dir, having string) string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), having)); dotted.MatchString(e.Name()) && err == nil {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int {
		x, y := strings.Split(a, "."), strings.Split(b, ".")
		for i := range min(len(x), len(y)) {
			m, _ := strconv.Atoi(x[i])
			n, _ := strconv.Atoi(y[i])
			if m != n {
				return m - n
			}
		}
		return len(x) - len(y)
	})
}

// locateMSVC finds the newest tools and Windows SDK.
func locateMSVC(install, kits string, q *Request) (tools, error) {
	toolsDir := filepath.Join(install, "VC", "Tools", "MSVC")
	bin := filepath.Join("bin", "Hostx64", "x64")
	version := newest(toolsDir, filepath.Join(bin, "cl.exe"))
	if version == "" {
		return nil, fault.New(fault.Environment, msvcHint, "%s has no compiler for x64", toolsDir)
	}
	kit := newest(filepath.Join(kits, "Include"), filepath.Join("ucrt", "stdio.h"))
	if kit == "" {
		return nil, fault.New(fault.Environment, "add a Windows 10 or 11 SDK in the Visual Studio Installer", "%s has no Windows SDK", kits)
	}
	root := filepath.Join(toolsDir, version)
	m := &msvc{
		cl: filepath.Join(root, bin, "cl.exe"), linker: filepath.Join(root, bin, "link.exe"), lib: filepath.Join(root, bin, "lib.exe"),
		version: version, kit: kit, include: []string{filepath.Join(root, "include")}, libs: []string{filepath.Join(root, "lib", "x64")},
	}
	for _, part := range []string{"ucrt", "um", "shared"} {
		m.include = append(m.include, filepath.Join(kits, "Include", kit, part))
	}
	for _, part := range []string{"ucrt", "um"} {
		m.libs = append(m.libs, filepath.Join(kits, "Lib", kit, part, "x64"))
	}
	for _, name := range []string{"SystemRoot", "TEMP", "TMP"} {
		if v := run.Getenv(q.Env, name); v != "" {
			m.env = append(m.env, name+"="+v)
		}
	}
	m.env = append(m.env, "PATH="+filepath.Join(root, bin), "INCLUDE="+strings.Join(m.include, ";"), "LIB="+strings.Join(m.libs, ";"))
	return m, nil
}

func (m *msvc) describe() string  { return "MSVC " + m.version + ", Windows SDK " + m.kit + ", UCRT" }
func (m *msvc) environ() []string { return m.env }

// identity hashes the programs, the parts of cl that compile, and the libraries that every
// module is linked to. Headers count by the versions of tools and SDK, whose directories
// are named after them.
func (m *msvc) identity(context.Context, *builder) (string, error) {
	files := []string{m.cl, m.linker, m.lib}
	parts := []string{filepath.Join(filepath.Dir(m.cl), "c1.dll"), filepath.Join(filepath.Dir(m.cl), "c2.dll")}
	for _, dir := range m.libs {
		for _, name := range []string{"msvcrt.lib", "vcruntime.lib", "ucrt.lib", "kernel32.lib", "psapi.lib"} {
			parts = append(parts, filepath.Join(dir, name))
		}
	}
	for _, part := range parts { // each is in one of the directories
		if _, err := os.Stat(part); err == nil {
			files = append(files, part)
		}
	}
	return identityOf(files)
}

func (m *msvc) runtime() []string { return []string{"vcruntime140.dll"} }

func (m *msvc) object(source string) string { return strings.TrimSuffix(source, ".c") + ".obj" }

func (m *msvc) prepare(context.Context, *builder, *steps.Log) error { return nil }

// compile: /MD selects the runtime that Python uses, /Brepro omits times.
func (m *msvc) compile(b *builder, source string) []string {
	argv := []string{m.cl, "/nologo", "/O2", "/MD", "/DNDEBUG", "/DWIN32", "/D_CRT_SECURE_NO_WARNINGS", "/w", "/Brepro", "/d1trimfile:" + b.Work}
	for _, dir := range b.includes() {
		argv = append(argv, "/I"+dir)
	}
	return append(argv, "/c", "/Fo"+m.object(source), source)
}

func (m *msvc) link(_ *builder, out string, objects, libs []string) []string {
	argv := append([]string{
		m.linker, "/nologo", "/DLL", "/MACHINE:X64", "/OUT:" + out, "/DEF:module.def", "/IMPLIB:module.lib", "/Brepro",
		"/DYNAMICBASE", "/NXCOMPAT", "/HIGHENTROPYVA",
	}, objects...)
	return append(append(argv, libs...), "psapi.lib")
}

func (m *msvc) importLibrary(def, _, out string) []string {
	return []string{m.lib, "/nologo", "/MACHINE:X64", "/DEF:" + def, "/OUT:" + out}
}
