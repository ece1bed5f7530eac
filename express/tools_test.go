//go:build unix

package express

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/internal/receipt"
)

func TestEnableTelemetryNeedsItsPackage(t *testing.T) {
	dir := t.TempDir()
	exe, _ := fakeInstall(t, dir, func(r *receipt.Receipt) { r.Module.Version = "6.0.2" })
	code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: dir}, append([]string{"start-server", "--enable-telemetry", "--port", "47113"}, testUser()...)...)
	if code != 1 || !strings.Contains(stderr, "pip install mod_wsgi-telemetry") {
		t.Errorf("%d %s", code, stderr)
	}
}

// TestManualFollowsTheTable: each form of the manual contains every visible option and
// no hidden one.
func TestManualFollowsTheTable(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{"html": string(htmlManual())}
	for name, args := range map[string][]string{
		"man": {"man"}, "bash": {"completion", "bash"}, "zsh": {"completion", "zsh"}, "fish": {"completion", "fish"}, "help": {"help", "start-server"},
	} {
		code, stdout, stderr := runProgram(t, &Invocation{Executable: filepath.Join(dir, "x"), Dir: dir}, args...)
		if code != 0 || stderr != "" {
			t.Fatalf("%s: %d %s", name, code, stderr)
		}
		texts[name] = stdout
	}
	for name, text := range texts {
		text = strings.ReplaceAll(text, `\-`, "-")
		for _, o := range config.Table().Options() {
			word := "--" + o.Name
			if name == "fish" {
				word = "-l " + o.Name
			}
			has := strings.Contains(text, word+" ") || strings.Contains(text, word+"<") || strings.Contains(text, word+"[") || strings.Contains(text, word+"\n") ||
				strings.Contains(text, word+`\fR`) || strings.Contains(text, word+"'") || strings.Contains(text, word+"|") || strings.Contains(text, word+")")
			if has == o.Hidden {
				t.Errorf("%s contains --%s: %v, hidden: %v", name, o.Name, has, o.Hidden)
			}
		}
	}
	code, stdout, _ := runProgram(t, &Invocation{Executable: filepath.Join(dir, "x"), Dir: dir}, "list-options")
	var rows []struct{ Name string }
	if err := json.Unmarshal([]byte(stdout), &rows); code != 0 || err != nil || len(rows) != len(config.Table().Options()) {
		t.Errorf("list-options: %d %v, %d rows", code, err, len(rows))
	}
}
