//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

// command runs one command as Main does, inside this process.
func command(t *testing.T, a *app, args ...string) error {
	t.Helper()
	root := a.root()
	root.SetArgs(args)
	return root.ExecuteContext(t.Context())
}

// disk is a directory with a Python's files as in a container image.
func disk(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"usr/bin/python3.11":       "\x7fELF and nothing else",
		"usr/lib/python3.11/os.py": "",
		"etc/os-release":           "ID=debian\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDetectRoot(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{Process: Process{Stdout: &out, Stderr: &errs, Dir: t.TempDir()}}
	if err := command(t, a, "detect", "--root", disk(t), "--explain"); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "3.11") || !strings.Contains(text, "apt-get install python3.11-dev") {
		t.Errorf("got\n%s", text)
	}
	out.Reset()
	a = &app{Process: Process{Stdout: &out, Stderr: &errs, Dir: t.TempDir()}}
	if err := command(t, a, "detect", "--root", disk(t), "--json"); err != nil {
		t.Fatal(err)
	}
	var record struct {
		Detect struct {
			Schema  int
			Pythons []struct{ Verdict string }
			HTTPDs  []any
		}
	}
	if err := json.Unmarshal(out.Bytes(), &record); err != nil || record.Detect.Schema != 1 || len(record.Detect.Pythons) != 1 || record.Detect.HTTPDs == nil {
		t.Errorf("%s: %v", out.String(), err)
	}
}

func TestDetectWrongCalls(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		class fault.Class
	}{
		"no such root":   {[]string{"detect", "--root", "/nonexistent"}, fault.Usage},
		"unknown system": {[]string{"detect", "--root", disk(t), "--root-system", "plan9"}, fault.Usage},
		"doctor's port":  {[]string{"doctor", "--port", "99999"}, fault.Usage},
		"empty disk":     {[]string{"detect", "--root", t.TempDir()}, fault.Environment},
		"python outside": {[]string{"detect", "--root", disk(t), "--python", "/../../../../usr/bin/true"}, fault.Environment},
	} {
		a := &app{Process: Process{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Dir: t.TempDir()}}
		if err := command(t, a, tt.args...); err == nil || fault.ClassOf(err) != tt.class || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDoctorReportsAndFails(t *testing.T) {
	var out bytes.Buffer
	a := &app{Process: Process{Stdout: &out, Stderr: &bytes.Buffer{}, Dir: t.TempDir(), Env: []string{"PATH=/usr/bin:/bin"}}}
	err := command(t, a, "doctor", "--python", "/nonexistent", "--json")
	if fault.ClassOf(err) != fault.Environment {
		t.Errorf("%v", err)
	}
	var record struct {
		Doctor struct {
			Schema   int
			Worst    string
			Findings []struct{ Check, Severity, Summary, Cure string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &record); err != nil || record.Doctor.Worst != "error" || len(record.Doctor.Findings) < 2 || record.Doctor.Findings[1].Check != "python" || record.Doctor.Findings[1].Cure == "" {
		t.Errorf("%s: %v", out.String(), err)
	}
}
