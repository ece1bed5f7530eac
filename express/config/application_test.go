package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPathFiles checks which directories .pth files add, and which files run code.
func TestPathFiles(t *testing.T) {
	for text, want := range map[string]string{
		"# x\n\nsub\n/abs\n": "SITE/sub /abs true", "import x; x.y()\n": " false", "important\n": "SITE/important true",
	} {
		site := t.TempDir()
		_ = os.WriteFile(filepath.Join(site, "distutils-precedence.pth"), []byte("import os; os\n"), 0o600)
		_ = os.WriteFile(filepath.Join(site, "x.pth"), []byte(text), 0o600)
		dirs, known := pathFiles(site)
		if got := fmt.Sprintf("%s %v", strings.ReplaceAll(strings.Join(dirs, " "), site, "SITE"), known); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestMounts(t *testing.T) {
	for v, want := range map[string]string{"/": "/", "": "/", "api": "/api", "/api/": "/api", "//a//b/../c/": "/a/c"} {
		if got := CleanMount(v); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
}
