package recipe

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func lockedSysroot(target string) LockedSysroot {
	sum := strings.Repeat("ab", 32)
	return LockedSysroot{
		Target: target, SHA256: sum, Source: "Debian bullseye",
		Packages: []LockedPackage{{Name: "libc6-dev", Version: "2.31-13+deb11u11", Arch: "arm64", Suite: "bullseye", File: "pool/main/g/glibc/libc6-dev_2.31_arm64.deb", Size: 7, SHA256: sum}},
		SDKs:     []LockedSDK{{Python: "3.14", SHA256: sum}},
	}
}

func TestLockKeepsSysroots(t *testing.T) {
	l := &Lock{}
	l.PutSysroot(lockedSysroot("linux/arm64/glibc2.28"))
	l.PutSysroot(lockedSysroot("linux/amd64/glibc2.28"))
	changed := lockedSysroot("linux/arm64/glibc2.28")
	changed.Source = "Debian bookworm"
	l.PutSysroot(changed)
	file := filepath.Join(t.TempDir(), "modwsgi.lock")
	if _, err := l.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLock(file)
	if err != nil {
		data, _ := os.ReadFile(file)
		t.Fatalf("%v\n%s", err, data)
	}
	if len(got.sysroots) != 2 {
		t.Fatalf("%d sysroots", len(got.sysroots))
	}
	for _, want := range []LockedSysroot{changed, lockedSysroot("linux/amd64/glibc2.28")} {
		if s, ok := got.FindSysroot(want.Target); !ok || !reflect.DeepEqual(s, want) {
			t.Errorf("got %+v, want %+v", s, want)
		}
	}
	if _, ok := got.FindSysroot("linux/riscv64/glibc2.36"); ok {
		t.Error("found a target that was not recorded")
	}
	if again, err := got.Write(file); again || err != nil {
		t.Errorf("written again without a change: %v, %v", again, err)
	}
}

func TestLockRefusesSysroots(t *testing.T) {
	for name, change := range map[string]func(*LockedSysroot){
		"no target":     func(s *LockedSysroot) { s.Target = "" },
		"no hash":       func(s *LockedSysroot) { s.SHA256 = "abc" },
		"package hash":  func(s *LockedSysroot) { s.Packages[0].SHA256 = "" },
		"package size":  func(s *LockedSysroot) { s.Packages[0].Size = 0 },
		"file outside":  func(s *LockedSysroot) { s.Packages[0].File = "../../x.deb" },
		"file absolute": func(s *LockedSysroot) { s.Packages[0].File = "/x.deb" },
		"file a URL":    func(s *LockedSysroot) { s.Packages[0].File = "http://x/y.deb" },
		"SDK hash":      func(s *LockedSysroot) { s.SDKs[0].SHA256 = "zz" },
	} {
		s := lockedSysroot("linux/arm64/glibc2.28")
		change(&s)
		l := &Lock{}
		l.PutSysroot(s)
		if _, err := parseLock(string(l.Encode())); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	one := lockedSysroot("linux/arm64/glibc2.28")
	l := &Lock{sysroots: []LockedSysroot{one, one}}
	if _, err := parseLock(string(l.Encode())); err == nil || !strings.Contains(err.Error(), "duplicate sysroot") {
		t.Errorf("duplicate: %v", err)
	}
}
