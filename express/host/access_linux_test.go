package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can use the rights of another account")
	}
	base := t.TempDir()
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	closed, inner := filepath.Join(base, "closed"), filepath.Join(base, "closed", "inner")
	file, secret, link := filepath.Join(base, "file"), filepath.Join(base, "secret"), filepath.Join(base, "link")
	grouped := filepath.Join(base, "grouped")
	if err := errors.Join(os.MkdirAll(inner, 0o755), os.Chmod(closed, 0o700), os.WriteFile(file, nil, 0o644), os.WriteFile(secret, nil, 0o600),
		os.Symlink(inner, link), os.Mkdir(grouped, 0o750), os.Chown(grouped, 0, 4711)); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		data, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		return string(data[bytes.Index(data, []byte("\nUid:")):bytes.Index(data, []byte("\nVmPeak"))])
	}
	before := status()
	nobody := &Account{User: "nobody", UID: 65534, GID: 65534, Groups: []int{65534, 4711}, Other: true}
	for _, c := range []struct {
		path string
		read bool
		want string
	}{
		{file, true, ""},
		{grouped, true, ""},
		{inner, false, closed + " cannot be entered"},
		{link, false, closed + " cannot be entered"},
		{closed, false, closed + " cannot be entered"},
		{secret, true, secret + " cannot be read"},
		{filepath.Join(base, "missing"), false, "does not exist"},
	} {
		err := CheckAccess(nobody, []Need{{c.path, "the thing", c.read}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	// Only one thread had changed rights, and only temporarily.
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("this process lost its rights: %v", err)
	}
	if after := status(); after != before {
		t.Errorf("the process changed:%s, before:%s", after, before)
	}
}
