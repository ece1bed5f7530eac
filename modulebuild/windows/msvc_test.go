package windows

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func TestVSWhere(t *testing.T) {
	const answer = `[{"instanceId":"1","installationPath":"C:\\Half","isComplete":false},
 {"installationPath":"C:\\Program Files\\Microsoft Visual Studio\\2022\\BuildTools","installationVersion":"17.9.34728.123","isComplete":true}]`
	got, err := parseVSWhere([]byte(answer))
	if err != nil || got != `C:\Program Files\Microsoft Visual Studio\2022\BuildTools` {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"[]", "", "no JSON", `[{"installationPath":""}]`, `[{"installationPath":"C:\\Half","isComplete":false}]`} {
		if _, err := parseVSWhere([]byte(bad)); fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "Build Tools") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestLocateMSVC(t *testing.T) {
	root := put(t, filepath.Join(t.TempDir(), "VS ü"), map[string]string{
		"vs/VC/Tools/MSVC/14.9.1/bin/Hostx64/x64/cl.exe":         "",
		"vs/VC/Tools/MSVC/14.39.33519/bin/Hostx64/x64/cl.exe":    "",
		"vs/VC/Tools/MSVC/14.40.1/bin/Hostx86/x86/cl.exe":        "", // not for x64
		"vs/VC/Tools/MSVC/v143/bin/Hostx64/x64/cl.exe":           "",
		"kits/Include/10.0.9999.0/ucrt/stdio.h":                  "",
		"kits/Include/10.0.22621.0/ucrt/stdio.h":                 "",
		"kits/Include/10.0.26100.0/um/windows.h":                 "", // without the C library
		"kits/Include/wdf/ucrt/stdio.h":                          "",
		"vs/VC/Auxiliary/Build/Microsoft.VCToolsVersion.default": "",
	})
	found, err := locateMSVC(filepath.Join(root, "vs"), filepath.Join(root, "kits"), &Request{Env: []string{"SystemRoot=C:\\Windows", "SECRET=x"}})
	if err != nil {
		t.Fatal(err)
	}
	m := found.(*msvc)
	if m.version != "14.39.33519" || m.kit != "10.0.22621.0" || m.describe() != "MSVC 14.39.33519, Windows SDK 10.0.22621.0, UCRT" {
		t.Errorf("%+v", m)
	}
	if env := strings.Join(m.environ(), "\n"); strings.Contains(env, "SECRET") || !strings.Contains(env, "INCLUDE="+filepath.Join(root, "vs")) || !strings.Contains(env, filepath.Join("10.0.22621.0", "ucrt", "x64")) {
		t.Error(env)
	}
	identity := func() string {
		id, err := m.identity(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	const bin = "vs/VC/Tools/MSVC/14.39.33519/bin/Hostx64/x64/"
	put(t, root, map[string]string{bin + "link.exe": "", bin + "lib.exe": ""})
	seen := map[string]bool{identity(): true}
	for _, part := range []string{bin + "link.exe", bin + "c2.dll", "vs/VC/Tools/MSVC/14.39.33519/lib/x64/msvcrt.lib", "kits/Lib/10.0.22621.0/um/x64/psapi.lib"} {
		put(t, root, map[string]string{part: "another"})
		if id := identity(); seen[id] {
			t.Errorf("%s is not part of the identity", part)
		} else {
			seen[id] = true
		}
	}
	b := &builder{Request: Request{Work: "W"}, httpd: &sdk{include: []string{"I1"}}, python: &sdk{include: []string{"I2"}}}
	compile := m.compile(b, "src/server/a.c")
	for _, want := range []string{"/II1", "/II2", "/MD", "/Brepro", "/Fosrc/server/a.obj", "src/server/a.c"} {
		if !slices.Contains(compile, want) {
			t.Errorf("%q is not in %q", want, compile)
		}
	}
	link := m.link(b, "O.pyd", []string{m.object("src/server/a.c")}, []string{"L.lib"})
	for _, want := range []string{"/DLL", "/MACHINE:X64", "/OUT:O.pyd", "/DEF:module.def", "/Brepro", "src/server/a.obj", "L.lib", "psapi.lib"} {
		if !slices.Contains(link, want) {
			t.Errorf("%q is not in %q", want, link)
		}
	}
	if _, err := locateMSVC(filepath.Join(root, "none"), filepath.Join(root, "kits"), &Request{}); fault.ClassOf(err) != fault.Environment {
		t.Error(err)
	}
	if _, err := locateMSVC(filepath.Join(root, "vs"), filepath.Join(root, "none"), &Request{}); err == nil || !strings.Contains(fault.HintOf(err), "SDK") {
		t.Error(err)
	}
}
