//go:build unix

package express

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// FuzzCommandLine gives arbitrary words to start-server's options (separated by NUL):
// the result is an error with a reason, or a configuration in which every line is one
// directive that the launcher wrote.
func FuzzCommandLine(f *testing.F) {
	base, err := filepath.EvalSymlinks(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	if strings.ContainsAny(base, "\n\r") {
		f.Skip("unsuitable temporary directory")
	}
	exe := fakeServer(f, base, nil)
	for _, line := range []string{
		"app.py", "--port=80 --host ::1", "--setenv A b\nInclude", "--mount-point /a' --url-alias /x /y", "--server-name www.x.org --server-alias *", "--threads -1",
		"--process 2", "--", "--proxy-mount-point /a${B} http://x", "--error-document 404 \\", "--log-level info", "--locale x_X", "--enable-recorder --embedded-mode",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	directive := regexp.MustCompile(`^\s*(# (always|--[a-z0-9-]+(, by default|( --[a-z0-9-]+)*)|Written by .*)|</?[A-Z][A-Za-z]+[^\n]*>|[A-Z][A-Za-z0-9]+( [^\n]*)?)$`)
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		if strings.Contains(line, "--env") || strings.Contains(line, "--httpd") || strings.Contains(line, "--gdb") || len(line) > 4000 {
			return // these run the program that they name
		}
		args := append([]string{"show-config", "--server-root", filepath.Join(base, "root")}, testUser()...)
		code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8", "PATH=/nonexistent"}}, append(args, words...)...)
		if code == 0 && strings.HasPrefix(stdout, "Usage: ") {
			return // --help
		}
		if code != 0 {
			if stdout != "" || !strings.Contains(stderr, "mod_wsgi-express: error: ") || code > 2 {
				t.Errorf("%q: code %d\n%s\n%s", words, code, stdout, stderr)
			}
			return
		}
		for l := range strings.Lines(stdout) {
			if !directive.MatchString(strings.TrimSuffix(l, "\n")) {
				t.Errorf("%q: the line %q", words, l)
			}
		}
		if _, err := os.Lstat(filepath.Join(base, "root")); err == nil {
			t.Errorf("%q: show-config wrote files", words)
		}
	})
}

// FuzzSystemdWord reads a word of a unit's command line as systemd does
// (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers").
func FuzzSystemdWord(f *testing.F) {
	for _, v := range []string{"", "a b", `it's "quoted" \`, "%i ${HOME} $X 100%", "a\tb", "é✓", "; x", "\\x41", "$$%%"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		word, err := systemdWord(v)
		if err != nil {
			return
		}
		if strings.ContainsAny(word, "\n\r\x00") || len(word) < 2 || word[0] != '"' || word[len(word)-1] != '"' {
			t.Fatalf("%q became %q", v, word)
		}
		var got strings.Builder
		for inner := word[1 : len(word)-1]; inner != ""; {
			switch pair := inner[:min(2, len(inner))]; {
			case pair == `\\` || pair == `\"`:
				got.WriteByte(pair[1])
				inner = inner[2:]
			case pair == `\t`:
				got.WriteByte('\t')
				inner = inner[2:]
			case pair == "%%" || pair == "$$":
				got.WriteByte(pair[0])
				inner = inner[2:]
			case strings.ContainsAny(pair[:1], `%$"\`):
				t.Fatalf("%q became %q, which systemd does not read as one word", v, word)
			default:
				got.WriteByte(inner[0])
				inner = inner[1:]
			}
		}
		if got.String() != v {
			t.Errorf("%q became %q, which is read as %q", v, word, got.String())
		}
	})
}
