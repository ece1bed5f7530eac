package sysroot

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/debian/debiantest"
	"modwsgi/internal/owned"
)

// TestRecords: a sysroot has dpkg's records of the packages that it is made of, with all
// files of a package where they are there, also those that are left out. The same packages
// give the same digest as without them, and an older lock gives them, too.
func TestRecords(t *testing.T) {
	host, server := serve(t)
	m := host.Multiarch()
	const symbols = "libcrypt.so.1 libcrypt1 #MINVER#\n crypt@GLIBC_2.2.5 1:4.1.0\n"
	control := map[string]string{"control": "Package: libcrypt1\nMulti-Arch: same\nVersion: 1\n", "symbols": symbols, "shlibs": "libcrypt 1 libcrypt1 (>= 1:4.1.0)\n", "postinst": "exit 1\n"}
	suite := server.Suites["bookworm"]
	k := slices.IndexFunc(suite.Packages, func(p debiantest.Package) bool { return p.Name == "libcrypt1" })
	suite.Packages[k].Deb = debiantest.WithControl(control, map[string]string{"lib/" + m + "/libcrypt.so.1.1.0": "x", "usr/share/man/man5/crypt.5.gz": "x"})
	one, err := Make(t.Context(), request(t, host, server), means(t, "", false))
	if err != nil {
		t.Fatal(err)
	}
	if !HasRecords(one.Dir) || HasRecords(t.TempDir()) {
		t.Error("records of an empty directory, or none of the sysroot")
	}
	info := filepath.Join(one.Dir, "var/lib/dpkg/info")
	name := "libcrypt1:" + host.DebianArch()
	list := strings.Split(strings.TrimSpace(read(t, filepath.Join(info, name+".list"))), "\n")
	slices.Sort(list)
	if want := []string{"/.", "/usr/lib/" + m + "/libcrypt.so.1.1.0", "/usr/share/man/man5/crypt.5.gz"}; !slices.Equal(list, want) {
		t.Errorf("the list is %q, want %q", list, want)
	}
	for file, want := range map[string]string{name + ".symbols": symbols, name + ".shlibs": control["shlibs"]} {
		if got := read(t, filepath.Join(info, file)); got != want {
			t.Errorf("%s is %q", file, got)
		}
	}
	if all, _ := os.ReadDir(info); len(all) != len(suite.Packages)+2 {
		t.Errorf("%d records of %d packages: %v", len(all), len(suite.Packages), all)
	}
	status := read(t, filepath.Join(one.Dir, "var/lib/dpkg/status"))
	if !strings.Contains(status, "Package: libcrypt1\nStatus: install ok installed\nArchitecture: "+host.DebianArch()+"\nVersion: 1\nMulti-Arch: same\n\n") {
		t.Errorf("the status is %s", status)
	}
	q := request(t, host, server)
	q.Lock = &Lock{Target: one.Lock.Target, Packages: one.Lock.Packages}
	two, err := Make(t.Context(), q, means(t, "", false))
	if err != nil || two.Digest != one.Digest || read(t, filepath.Join(two.Dir, "var/lib/dpkg/status")) != status {
		t.Errorf("made again: %v, %s, %s", err, one.Digest, two.Digest)
	}
}

// TestDanglingLinks: links of packages to what their installation scripts would make are
// left out, so that the tree can be trusted; all others stay.
func TestDanglingLinks(t *testing.T) {
	host, server := serve(t)
	suite := server.Suites["bookworm"]
	k := slices.IndexFunc(suite.Packages, func(p debiantest.Package) bool { return p.Name == "libcrypt1" })
	suite.Packages[k].Deb = debiantest.Deb(map[string]string{
		"usr/lib/one.so": "-> two.so", "usr/lib/two.so": "-> /etc/alternatives/two.so", "usr/lib/three.so": "-> four.so", "lib/four.so": "x",
	})
	s, err := Make(t.Context(), request(t, host, server), means(t, "", false))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"one.so": false, "two.so": false, "three.so": true, "four.so": true} {
		if _, err := os.Lstat(filepath.Join(s.Dir, "usr/lib", name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := owned.CheckTree(s.Dir, nil); err != nil {
		t.Error(err)
	}
}

// TestGivenRecords: the records of a directory of the user's are part of what a build reads,
// so others count as another sysroot, and another user must not be able to change them.
func TestGivenRecords(t *testing.T) {
	host, files := usable(t)
	list := "var/lib/dpkg/info/libc6.list"
	digests := map[string]bool{}
	for _, change := range []map[string]string{{}, {list: "/.\n"}, {list: "/.\n/lib\n"}, {"var/lib/dpkg/status": "Package: x\n"}} {
		all := maps.Clone(files)
		maps.Copy(all, change)
		s, err := Make(t.Context(), Request{Target: host, Dir: lay(t, all)}, means(t, "", true))
		if err != nil {
			t.Fatal(err)
		}
		digests[s.Digest] = true
	}
	if len(digests) != 4 {
		t.Errorf("%d digests of four sysroots", len(digests))
	}
	noise := maps.Clone(files)
	noise["var/log/dpkg.log"], noise["var/lib/dpkg/lock"] = "x", "x"
	s, err := Make(t.Context(), Request{Target: host, Dir: lay(t, noise)}, means(t, "", true))
	if err != nil || !digests[s.Digest] {
		t.Errorf("files that nothing reads count: %v", err)
	}
	files[list] = "/.\n"
	dir := lay(t, files)
	if err := os.Chmod(filepath.Join(dir, list), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), Request{Target: host, Dir: dir}, means(t, "", true)); err == nil || !strings.Contains(err.Error(), "libc6.list") {
		t.Errorf("records that anyone may change: %v", err)
	}
}
