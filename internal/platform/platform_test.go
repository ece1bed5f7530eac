package platform

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func TestDecisions(t *testing.T) {
	for system, want := range map[System]struct {
		name           string
		builds, serves bool
		programs       []string
	}{
		"linux":   {"Linux", true, true, []string{"modwsgi", "mod_wsgi-express", "mod_wsgi-apxs"}},
		"windows": {"Windows", false, true, []string{"modwsgi", "mod_wsgi-express"}},
		"darwin":  {"macOS", false, false, []string{"modwsgi"}},
		"freebsd": {"FreeBSD", false, false, []string{"modwsgi"}},
		"plan9":   {"plan9", false, false, []string{"modwsgi"}},
	} {
		if system.String() != want.name || system.Builds() != want.builds || system.Serves() != want.serves || !slices.Equal(system.Programs(), want.programs) {
			t.Errorf("%s: %s %v %v %v", system.Name(), system, system.Builds(), system.Serves(), system.Programs())
		}
		if system.Makes("linux/amd64") != want.builds || !system.Makes(Windows) || system.Makes("windows/arm64") != want.builds {
			t.Errorf("%s makes Linux %v, Windows %v", system, system.Makes("linux/amd64"), system.Makes(Windows))
		}
		build, serve := system.CanBuild("install"), system.CanServe()
		if (build == nil) != want.builds || (serve == nil) != want.serves {
			t.Errorf("%s: %v, %v", system, build, serve)
		}
		for _, err := range []error{build, serve} {
			if err != nil && (fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), want.name) || fault.HintOf(err) == "") {
				t.Errorf("%s: %v (%s)", system, err, fault.HintOf(err))
			}
		}
	}
	if System("").Name() != runtime.GOOS {
		t.Errorf("this system is %s", System("").Name())
	}
}

func TestUnsupported(t *testing.T) {
	for target, want := range map[string]string{
		"darwin/arm64": "macOS", "macOS/arm64": "macOS", "macos": "macOS", "freebsd/amd64": "FreeBSD",
		"linux/amd64": "", "windows/amd64": "", "windows/arm64": "", "plan9/mips": "", "": "",
	} {
		if s, un := Unsupported(target); un != (want != "") || un && s.String() != want {
			t.Errorf("%s: %s, %v", target, s, un)
		}
	}
}
