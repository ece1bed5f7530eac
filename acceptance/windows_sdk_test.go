//go:build acceptance

package acceptance

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sdks builds against SDKs in the layouts that users have: Apache Lounge's zip, and
// headers of another system's Python with the library of the Windows one. The result
// is checked with objdump, not with our own reader.
func (w *windows) sdks(t *testing.T) {
	include := strings.TrimSpace(must(t, "/", bareEnv(), setting(t, "MODWSGI_TEST_PYTHON"), "-c", "import sysconfig; print(sysconfig.get_path('include'))").stdout)
	if !strings.HasSuffix(include, "python3.11") {
		t.Skipf("NOT TESTED: the tests' Python is not 3.11, and the one for Windows is: %s", include)
	}
	dir := workdir(t, "sdk ä")
	zipped := filepath.Join(dir, "httpd-2.4-win64.zip")
	must(t, w.httpd, os.Environ(), setting(t, "MODWSGI_TEST_PYTHON"), "-m", "zipfile", "-c", zipped, "Apache24")
	sdk := filepath.Join(dir, "python")
	must(t, "/", os.Environ(), "mkdir", sdk)
	must(t, "/", os.Environ(), "cp", "-rL", include, filepath.Join(sdk, "include"))
	must(t, "/", os.Environ(), "cp", w.path("Python311/python311.dll"), sdk)
	build := func(out string, args ...string) result {
		return command(t, dir, bareEnv(), append([]string{
			program(t, "modwsgi"), "module", "build", "--target", "windows/amd64", "--progress", "plain",
			"--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--out", filepath.Join(dir, out),
		}, args...)...)
	}
	if r := build("with", "--python", "3.11", "--httpd-sdk", zipped, "--python-sdk", sdk); r.code != 0 {
		t.Fatal(r)
	}
	module := filepath.Join(dir, "with/mod_wsgi.cp311-win_amd64.pyd")
	dump := must(t, "/", bareEnv(), "x86_64-w64-mingw32-objdump", "-p", module).stdout
	var needs, exports []string
	for _, m := range regexp.MustCompile(`DLL Name: (\S+)`).FindAllStringSubmatch(dump, -1) {
		if !strings.HasPrefix(m[1], "api-ms-win-crt-") {
			needs = append(needs, strings.ToLower(m[1]))
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+\[\s*\d+\] (?:\+base\[\s*\d+\]\s+[0-9a-f]+ )?([A-Za-z]\w+)\r?$`).FindAllStringSubmatch(dump, -1) {
		exports = append(exports, m[1])
	}
	slices.Sort(needs)
	if want := []string{"kernel32.dll", "libapr-1.dll", "libaprutil-1.dll", "libhttpd.dll", "psapi.dll", "python311.dll"}; !slices.Equal(needs, want) {
		t.Errorf("needs %q", needs)
	}
	if !slices.Equal(exports, []string{"PyInit_mod_wsgi", "wsgi_module"}) {
		t.Errorf("exports %q", exports)
	}
	if data, err := os.ReadFile(module); err != nil || bytes.Contains(data, []byte("/var/tmp")) || bytes.Contains(data, []byte("sdk ä")) {
		t.Errorf("it names a directory of this machine (%v)", err)
	}

	// Mismatches are named, and nothing is left.
	must(t, "/", os.Environ(), "mkdir", filepath.Join(dir, "empty"))
	for want, args := range map[string][]string{
		"headers of Python 3.11":               {"--python", "3.12", "--python-sdk", sdk},
		"has no httpd.h":                       {"--python", "3.11", "--httpd-sdk", filepath.Join(dir, "empty")},
		"headers of Python 3.8, 3.10":          {"--python", "3.10,3.11,3.8"},
		"is not a version of Python":           {"--python", "python3"},
		"--python is missing":                  nil,
		"does not name its Python":             {"--python", "3.10,3.11", "--python-sdk", sdk},
		"version \"2.2\" of httpd has 2 parts": {"--python", "3.11", "--httpd", "2.2"},
		"no known version of httpd is \"2.2":   {"--python", "3.11", "--httpd", "2.2.34"},
		"unsupported target windows/arm64":     {"--python", "3.11", "--target", "windows/arm64"},
		"unsupported target windows/386":       {"--python", "3.11", "--target", "windows/386"},
		"--target is missing":                  {"--python", "3.11", "--target", ""},
		"create the build directory":           {"--python", "3.11", "--out", filepath.Join(zipped, "below a file")},
	} {
		r := build("wrong", args...)
		if r.code == 0 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "hint:") {
			t.Errorf("%s: %v", want, r)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "wrong/*")); len(left) > 0 {
			t.Errorf("%s: %v was left", want, left)
		}
	}

	// A failed build does not touch the result of an earlier one.
	before, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	if r := build("with", "--python", "3.11", "--httpd-sdk", filepath.Join(dir, "empty")); r.code == 0 {
		t.Error(r)
	}
	if after, err := os.ReadFile(module); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a failed build touched the module of an earlier one: %v", err)
	}
}
