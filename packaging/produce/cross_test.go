package produce

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/sysroot"
	"modwsgi/internal/target"
	"modwsgi/packaging"
)

func TestParseTargets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the default libc is that of Linux")
	}
	here, err := target.Host()
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseTargets([]string{"linux/" + here.Arch, "linux/riscv64/glibc2.36", "windows/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0] != (target.Target{}) || all[1].Arch != "riscv64" || all[2].OS != target.Windows {
		t.Errorf("got %+v", all)
	}
	for _, names := range [][]string{{"linux"}, {"linux/arm64/glibc2.28", "linux/aarch64/glibc2.28"}, {"plan9/amd64"}} {
		if _, err := parseTargets(names); err == nil || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// What a format cannot be made for is refused before anything is opened.
func TestTargetsOfFormats(t *testing.T) {
	for name, c := range map[string]struct {
		format  string
		targets []string
		pythons []string
		envs    []string
		want    string
	}{
		"wheel":             {"wheel", []string{"linux/arm64/glibc2.28"}, []string{"3.9", "3.13t"}, nil, ""},
		"wheel for Windows": {"wheel", []string{"windows/amd64"}, []string{"3.9"}, nil, ""},
		"path":              {"wheel", []string{"linux/arm64/glibc2.28"}, []string{".venv"}, nil, `is named by its version, not as ".venv"`},
		"no Python":         {"wheel", []string{"linux/arm64/glibc2.28"}, nil, nil, "--python is missing"},
		"installed":         {"wheel", []string{"linux/arm64/glibc2.28"}, nil, []string{"env"}, "--from-env packages an existing build"},
		"deb":               {"deb", []string{"linux/arm64/glibc2.31", "linux/amd64/glibc2.17"}, []string{"3.9"}, nil, ""},
		"rpm":               {"rpm", []string{"linux/s390x/glibc2.28"}, []string{"3.9"}, nil, ""},
		"apk":               {"apk", []string{"linux/arm64/musl1.2"}, []string{"3.12"}, nil, ""},
		"oci":               {"oci", []string{"linux/arm64/glibc2.31", "linux/amd64/glibc2.31"}, []string{"3.9"}, nil, ""},
		"deb for musl":      {"deb", []string{"linux/arm64/musl1.2"}, []string{"3.9"}, nil, "--target linux/arm64/musl1.2: distributions with deb packages have glibc"},
		"apk for glibc":     {"apk", []string{"linux/arm64/glibc2.31"}, []string{"3.9"}, nil, "--target linux/arm64/glibc2.31: apk packages are for Alpine"},
		"deb for Windows":   {"deb", []string{"windows/amd64"}, []string{"3.9"}, nil, "--target windows/amd64: deb is not made for Windows"},
		"images of one CPU": {"oci", []string{"linux/arm64/glibc2.31", "linux/arm64/glibc2.36"}, []string{"3.9"}, nil, "an index of images has one for each CPU"},
		"sdist":             {"sdist", []string{"linux/arm64/glibc2.28"}, []string{"3.9"}, nil, "sdist is not made for other systems"},
	} {
		o := &Single{Settings: Settings{Abs: filepath.Clean}, Format: Find(c.format), Values: Values{}, Pythons: c.pythons, FromEnv: c.envs, For: c.targets}
		switch err := o.Check(); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.Usage):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The artifacts of a tree for another system say what it is for, and whether it was tried.
func TestArtifactsNameTheirTarget(t *testing.T) {
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	f, err := d.Create("a.whl")
	if err == nil {
		_, err = io.WriteString(f, "content")
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = d.Add(&packaging.Artifact{Name: "a.whl", Kind: "wheel", Parameters: map[string]string{"bundle": "true"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	// Of this machine.
	describe(d, []*Tree{{Stage: &packaging.Stage{HTTPD: &packaging.HTTPD{Compiler: "gcc 12", Libc: "glibc 2.36"}}}}, time.Unix(7, 0))
	a := d.Added()[0]
	if want := map[string]string{"compiler": "gcc 12", "libc": "glibc 2.36", "source_date_epoch": "7"}; a.Target != "" || a.Unproven != "" || !maps.Equal(a.Environment, want) {
		t.Errorf("got %+v", a)
	}
	a.Environment = nil
	d.Update(a)
	tree := &Tree{Stage: &packaging.Stage{HTTPD: &packaging.HTTPD{Compiler: "aarch64-linux-gnu-gcc"}}, For: &installer.Cross{}, Target: "linux/arm64/glibc2.28", Unproven: "no emulator", about: map[string]string{"sysroot_sha256": "abc"}}
	describe(d, []*Tree{tree}, time.Unix(7, 0))
	a = d.Added()[0]
	if a.Environment["compiler"] != "" {
		t.Errorf("this machine's compiler is recorded: %+v", a)
	}
	if a.Target != tree.Target || a.Unproven != "no emulator" || a.Environment["proof"] != "unproven: no emulator" || a.Environment["sysroot_sha256"] != "abc" ||
		a.Parameters["target"] != tree.Target || a.Parameters["bundle"] != "true" {
		t.Errorf("got %+v", a)
	}
	tree.Unproven, tree.proof = "", "answered a request"
	if describe(d, []*Tree{tree}, time.Unix(7, 0)); d.Added()[0].Environment["proof"] != "answered a request" || d.Added()[0].Unproven != "" {
		t.Errorf("got %+v", d.Added()[0])
	}
}

// The lock file records a sysroot, and --locked accepts only that one.
func TestSysrootsAreLocked(t *testing.T) {
	dir := t.TempDir()
	to := target.Target{OS: target.Linux, Arch: "arm64", Libc: target.Glibc, LibcVersion: "2.28"}
	sum := strings.Repeat("ab", 32)
	made := &sysroot.Sysroot{Target: to, Digest: sum, Source: "Debian bullseye", Lock: &sysroot.Lock{Target: to.String(), Packages: []sysroot.Package{
		{Name: "libc6-dev", Version: "2.31-13", Arch: "arm64", Suite: "bullseye", File: "pool/l.deb", Size: 3, SHA256: sum, Python: "3.9"},
	}}}
	s := &Settings{}
	s.Build.Dir, s.Build.LockFile = dir, "modwsgi.lock"
	s.Build.Locked = true
	if _, err := s.lockedSysroot(to); err == nil {
		t.Error("--locked works without a lock file")
	}
	s.Build.Locked = false
	if l, err := s.lockedSysroot(to); l != nil || err != nil {
		t.Errorf("without --locked: %v, %v", l, err)
	}
	if err := s.recordSysroot(made); err != nil {
		t.Fatal(err)
	}
	s.Build.Locked = true
	l, err := s.lockedSysroot(to)
	if err != nil || len(l.Packages) != 1 || l.Packages[0] != made.Lock.Packages[0] || l.Target != to.String() {
		t.Fatalf("got %+v, %v", l, err)
	}
	if err := s.recordSysroot(made); err != nil {
		t.Error(err)
	}
	other := *made
	other.Digest = strings.Repeat("cd", 32)
	if err := s.recordSysroot(&other); err == nil || fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), other.Digest) {
		t.Errorf("another sysroot: %v", err)
	}
	away := to
	away.Arch = "riscv64"
	if _, err := s.lockedSysroot(away); err == nil || !strings.Contains(err.Error(), "no sysroot for linux/riscv64/glibc2.28") {
		t.Errorf("another target: %v", err)
	}
	lock, err := recipe.ReadLock(filepath.Join(dir, "modwsgi.lock"))
	if err != nil {
		data, _ := os.ReadFile(filepath.Join(dir, "modwsgi.lock"))
		t.Fatalf("%v\n%s", err, data)
	}
	if found, _ := lock.FindSysroot(to.String()); found.SHA256 != sum {
		t.Errorf("the lock file was changed: %+v", found)
	}
}
