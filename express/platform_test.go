//go:build unix

package express

import (
	"strings"
	"testing"
)

// TestOtherSystems: where no module can be built, every command is refused that needs
// one. Those that describe the launcher are not.
func TestOtherSystems(t *testing.T) {
	exe, _ := fakeInstall(t, t.TempDir(), nil)
	refused := 0
	for _, c := range commands() {
		args := []string{c.Name}
		if c.Name == "completion" {
			args = append(args, "bash")
		}
		inv := func() *Invocation { return &Invocation{Executable: exe, Name: exe, Dir: t.TempDir(), System: "darwin"} }
		code, stdout, stderr := runProgram(t, inv(), args...)
		if c.anywhere {
			if code != 0 || stderr != "" || stdout == "" {
				t.Errorf("%s: %d %q %q", c.Name, code, stdout, stderr)
			}
			continue
		}
		refused++
		if code != 1 || stdout != "" || !strings.Contains(stderr, "error: mod_wsgi-express does not serve on macOS") || !strings.Contains(stderr, "hint: use Linux") {
			t.Errorf("%s: %d %q %q", c.Name, code, stdout, stderr)
		}
		if c.raw {
			continue
		}
		if code, stdout, _ := runProgram(t, inv(), c.Name, "--help"); code != 0 || stdout == "" {
			t.Errorf("%s --help: %d %q", c.Name, code, stdout)
		}
		on := inv()
		on.System = "linux"
		if _, _, stderr := runProgram(t, on, args...); strings.Contains(stderr, "does not serve") {
			t.Errorf("%s on Linux: %q", c.Name, stderr)
		}
	}
	if refused < 12 {
		t.Errorf("only %d commands are refused", refused)
	}
}
