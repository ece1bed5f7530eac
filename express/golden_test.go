//go:build unix

package express

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"modwsgi/express/config"
	"modwsgi/internal/receipt"
)

// A case of the launcher is one file, testdata/cases/NAME.txtar: a sentence that describes
// it, and the parts
//
//	-- args --        the command line of show-config; a word with blanks is in double quotes
//	-- module --      the version of mod_wsgi, 6.0.5 if there is no such part
//	-- httpd.conf --  what is written; or
//	-- error --       what is printed, where the command line is refused
//
// All other parts are files in the working directory. To add a case is to add a file
// without the last part: go test ./express -run TestGolden -update writes it, to be
// read before it is committed.
const (
	casesDir = "testdata/cases"
	confPart = "httpd.conf"
	failPart = "error"
)

// The account that runs the tests, and its origin.
var (
	accountLine   = regexp.MustCompile(`(?m)^(User|Group) .*`)
	accountOrigin = regexp.MustCompile(`(?m)^# --(user|group)\b.*\n`)
)

// TestGolden keeps the output for some typical command lines.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(casesDir, "*.txtar"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d cases in %s, %v", len(names), casesDir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runCase(t, name) })
	}
}

func runCase(t *testing.T, name string) {
	t.Helper()
	c, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	args, version, want := caseParts(t, c, base)
	exe := fakeServer(t, base, func(r *receipt.Receipt) { r.Module.Version, r.Python.FreeThreaded = version, true })
	site := filepath.Join(base, "env", "lib", "python3.11", "site-packages")
	if err := os.Mkdir(filepath.Join(site, "mod_wsgi_telemetry-1.0.1.dist-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	line := []string{"show-config", "--port", "47311", "--server-root", filepath.Join(base, "root"), "--mime-types", filepath.Join(site, "mod_wsgi_packages/httpd/conf/mime.types")}
	code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}, Machine: &config.Machine{Memory: 4 << 30, OpenFiles: 1 << 20}}, append(append(line, args...), testUser()...)...)
	got := txtar.File{Name: confPart, Data: []byte(accountOrigin.ReplaceAllString(accountLine.ReplaceAllString(strings.ReplaceAll(stdout, base, "$BASE"), "$1 ..."), ""))}
	if code != 0 {
		got = txtar.File{Name: failPart, Data: fmt.Appendf(nil, "exit code %d\n%s", code, strings.ReplaceAll(stderr, base, "$BASE"))}
	}
	if want != nil && want.Name == got.Name && string(want.Data) == string(got.Data) {
		return
	}
	if !*update {
		t.Fatalf("%s: the output differs; see go test ./express -run TestGolden -update\n-- %s --\n%s", name, got.Name, got.Data)
	}
	if want != nil {
		*want = got
	} else {
		c.Files = append(c.Files, got)
	}
	if err := os.WriteFile(name, txtar.Format(c), 0o644); err != nil {
		t.Fatal(err)
	}
}

// caseParts writes a case's files into its working directory and returns the other
// parts. want is nil if it is not written yet.
func caseParts(t *testing.T, c *txtar.Archive, base string) (args []string, version string, want *txtar.File) {
	t.Helper()
	version = "6.0.5"
	for i, f := range c.Files {
		switch f.Name {
		case "args":
			args = caseWords(t, string(f.Data))
		case "module":
			version = strings.TrimSpace(string(f.Data))
		case confPart, failPart:
			want = &c.Files[i]
		default:
			if err := os.MkdirAll(filepath.Dir(filepath.Join(base, f.Name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(base, f.Name), f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(args) == 0 {
		t.Fatal("the case has no args")
	}
	return args, version, want
}

// caseWords splits a command line at unquoted blanks and line ends.
func caseWords(t *testing.T, text string) (words []string) {
	t.Helper()
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if quoted, err := strconv.QuotedPrefix(text); err == nil {
			word, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			words, text = append(words, word), text[len(quoted):]
			continue
		}
		word := text
		if end := strings.IndexAny(text, " \n"); end >= 0 {
			word = text[:end]
		}
		words, text = append(words, word), text[len(word):]
	}
	return words
}
