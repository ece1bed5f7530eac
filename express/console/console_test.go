package console

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/fault"
)

func TestForm(t *testing.T) {
	for name, tt := range map[string]struct {
		print          func(*Console)
		stdout, stderr string
	}{
		"result":         {func(c *Console) { c.Printf("%d pages\n", 2) }, "2 pages\n", ""},
		"warning":        {func(c *Console) { c.Warn("little space") }, "", "mod_wsgi-express: warning: little space\n"},
		"error":          {func(c *Console) { c.Fail(fault.New(fault.Usage, "", "no such file")) }, "", "mod_wsgi-express: error: no such file\n"},
		"error and hint": {func(c *Console) { c.Fail(fault.New(fault.Usage, "make it", "no such file")) }, "", "mod_wsgi-express: error: no such file\nmod_wsgi-express: hint: make it\n"},
		"several lines":  {func(c *Console) { c.Fail(fault.New(fault.Usage, "", "refused:\nline 1\nline 2\n")) }, "", "mod_wsgi-express: error: refused:\n    line 1\n    line 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out, err1 := os.Create(filepath.Join(dir, "out"))
			errs, err2 := os.Create(filepath.Join(dir, "err"))
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			defer out.Close()
			defer errs.Close()
			tt.print(&Console{Stdout: out, Stderr: errs})
			stdout, err1 := os.ReadFile(out.Name())
			stderr, err2 := os.ReadFile(errs.Name())
			if err1 != nil || err2 != nil || string(stdout) != tt.stdout || string(stderr) != tt.stderr {
				t.Errorf("stdout %q, stderr %q (%v, %v)", stdout, stderr, err1, err2)
			}
		})
	}
}
