//go:build unix

package shortage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// TestOf has real errors as worded by Go and by the tools.
func TestOf(t *testing.T) {
	dir := t.TempDir()
	tool := func(last string) error {
		return &run.Error{Argv: []string{"cc"}, Dir: dir, ExitCode: 1, Tail: []string{"before", last, "compilation terminated."}, Err: errors.New("exit status 1")}
	}
	call := func(err error) error {
		return &fs.PathError{Op: "write", Path: filepath.Join(dir, "gone", "x"), Err: err}
	}
	for name, tt := range map[string]struct {
		err  error
		want Kind
	}{
		"ENOSPC":         {call(syscall.ENOSPC), Space},
		"EDQUOT":         {call(syscall.EDQUOT), Quota},
		"EFBIG":          {call(syscall.EFBIG), FileSize},
		"EMFILE":         {call(syscall.EMFILE), OpenFiles},
		"ENFILE":         {call(syscall.ENFILE), AllFiles},
		"EROFS":          {call(syscall.EROFS), ReadOnly},
		"ENOMEM":         {&fs.PathError{Op: "fork/exec", Path: "/bin/cc", Err: syscall.ENOMEM}, Memory},
		"EAGAIN":         {&fs.PathError{Op: "fork/exec", Path: "/bin/cc", Err: syscall.EAGAIN}, Processes},
		"EAGAIN of read": {&fs.PathError{Op: "read", Path: "/x", Err: syscall.EAGAIN}, 0},
		"EACCES":         {call(syscall.EACCES), 0},
		"collect2":       {tool("collect2: fatal error: ld terminated with signal 25 [File size limit exceeded]"), FileSize},
		"as":             {tool("as: a.o: File too large"), FileSize},
		"SIGXFSZ":        {&run.Error{Argv: []string{"cc"}, Err: errors.New("signal: file size limit exceeded")}, FileSize},
		"ccache":         {tool("Cannot create temporary file in /tmp/: No space left on device"), Space},
		"cc1":            {tool("cc1: out of memory allocating 65536 bytes after a total of 1 bytes"), Memory},
		"killed":         {tool("cc: fatal error: Killed signal terminated program cc1"), Memory},
		"vfork":          {tool("cc: fatal error: cannot execute 'cc1': vfork: Resource temporarily unavailable"), Processes},
		"shell":          {tool("sh: 1: Cannot fork"), Processes},
		"cc1 EMFILE":     {tool("cc1: fatal error: a.c: Too many open files"), OpenFiles},
		"quota of cc1":   {tool("a.s: fatal error: error writing to a.s: Disk quota exceeded"), Quota},
		"an error":       {tool("a.c:1: error: expected ';'"), 0},
		"none":           {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.err
			if err != nil {
				err = fault.New(fault.Build, "", "build it: %w", err)
			}
			got, ok := Of(err)
			if got.Kind != tt.want || ok != (tt.want != 0) {
				t.Fatalf("got %v, %v", got, ok)
			}
			if ok && (got.String() == "" || got.Hint("") == "") {
				t.Errorf("got %q, %q", got, got.Hint(""))
			}
		})
	}
	if s, _ := Of(call(syscall.ENOSPC)); s.Path != dir {
		t.Errorf("got the file system of %q, want %q", s.Path, dir)
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	full := &fs.PathError{Op: "write", Path: filepath.Join(dir, "x"), Err: syscall.ENOSPC}
	for name, tt := range map[string]struct {
		err   error
		cache string
		class fault.Class
		hint  string
	}{
		"nobody classified it":  {full, "", fault.Environment, "free some space on the file system of " + dir},
		"the cache's":           {full, dir, fault.Environment, PruneCommand},
		"a broken compiler":     {fault.New(fault.Environment, "install a compiler", "cc: %w", full), "", fault.Environment, "free some space"},
		"a step of a build":     {fault.New(fault.Build, "see the log", "cc: %w", full), "", fault.Environment, "free some space"},
		"an environment":        {fault.New(fault.Place, "nothing was changed", "place: %w", full), "", fault.Place, "nothing was changed"},
		"another's lock":        {fault.New(fault.Busy, "wait", "lock: %w", full), "", fault.Busy, "wait"},
		"read-only":             {fault.New(fault.Environment, "use --out", "write: %w", &fs.PathError{Op: "open", Path: dir, Err: syscall.EROFS}), "", fault.Environment, "use --out"},
		"it is not known where": {fault.New(fault.Environment, "set TMPDIR", "write: %w", syscall.ENOSPC), "", fault.Environment, "set TMPDIR"},
		"a better hint":         {fault.New(fault.Environment, "other", "cc: %w", WithHint(full, "set TMPDIR")), "", fault.Environment, "set TMPDIR"},
		"nothing has run out":   {fault.New(fault.Verify, "look", "no answer"), "", fault.Verify, "look"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Explain(tt.err, tt.cache)
			if fault.ClassOf(err) != tt.class || !strings.Contains(fault.HintOf(err), tt.hint) || !errors.Is(err, tt.err) {
				t.Errorf("class %d, hint %q: %v", fault.ClassOf(err), fault.HintOf(err), err)
			}
			if tt.cache == "" && strings.Contains(fault.HintOf(err), "cache") {
				t.Errorf("the cache would not help: %s", fault.HintOf(err))
			}
		})
	}
	if err := Explain(nil, ""); err != nil {
		t.Error(err)
	}
	if !SameFileSystem(filepath.Join(dir, "none"), dir) || SameFileSystem(dir, "") || SameFileSystem("/proc/self", dir) {
		t.Error("file systems are confused")
	}
}

// TestLimits reads the limits of a process that has them.
func TestLimits(t *testing.T) {
	if n := os.Getenv("MODWSGI_TEST_LIMITS"); n != "" {
		fmt.Println(Shortage{Kind: FileSize})
		fmt.Println(Shortage{Kind: OpenFiles})
		fmt.Println(Early())
		return
	}
	var r run.Runner
	out, err := r.Output(t.Context(), run.Cmd{
		Argv: []string{"sh", "-c", `ulimit -f 8000; ulimit -n 77; ulimit -v 1900000; exec "$0" -test.run TestLimits`, os.Args[0]},
		Env:  []string{"PATH=/usr/bin:/bin", "MODWSGI_TEST_LIMITS=1"},
	})
	if err != nil || !strings.Contains(string(out), "(ulimit -n) allows: 77") {
		t.Errorf("%s, %v", out, err)
	}
	if !strings.Contains(string(out), "ulimit -v is 1900000 KiB") || Early() != "" {
		t.Errorf("%s; here %q", out, Early())
	}
	// In blocks of 512 bytes (POSIX, dash) or 1024 (bash).
	if !strings.Contains(string(out), "(ulimit -f) allows: 4000 KiB") && !strings.Contains(string(out), "(ulimit -f) allows: 8000 KiB") {
		t.Errorf("%s", out)
	}
}
