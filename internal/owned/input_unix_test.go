//go:build unix

package owned

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestReadInputNeverWaits: a pipe under the name of a file is an error at once; an open
// descriptor is read.
func TestReadInputNeverWaits(t *testing.T) {
	dir := t.TempDir()
	pipe, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{pipe: "not a regular file", dir: "a directory", "/dev/zero": "not a regular file"} {
		if data, err := ReadInput(path, 100); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	if _, err := ReadInput(file, 7); err == nil {
		t.Error("a file of 8 bytes is read with a limit of 7")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("piped"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for path, want := range map[string]string{file: "contents", "/dev/fd/" + strconv.Itoa(int(r.Fd())): "piped"} {
		if data, err := ReadInput(path, 100); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
}
