//go:build acceptance

package express_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// unpacked finds a program on this machine or, if it is not installed, in Debian's
// packages. It returns the path, the directory of the unpacked packages ("" for this
// machine), and the program's environment.
func unpacked(t *testing.T, name string, packages ...string) (path, root string, env []string) {
	t.Helper()
	env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "TERM=dumb", "LANG=C.UTF-8"}
	if path, err := exec.LookPath(name); err == nil {
		return path, "", env
	}
	lib := debian(t, packages...)
	root = filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(lib))))
	for _, dir := range []string{"usr/bin", "bin"} {
		path := filepath.Join(root, dir, name)
		if _, err := os.Stat(path); err == nil {
			libraries, _ := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu"))
			return path, root, append(env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
		}
	}
	t.Fatalf("the packages %q do not contain %s", packages, name)
	return "", "", nil
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b[>=]|\r|\a")

// typed is what the terminal shows, without cursor control sequences.
func (p *terminal) typed() string { return escapes.ReplaceAllString(p.String(), "") }

// press types into the terminal and waits for an output.
func (p *terminal) press(t *testing.T, keys, want string) {
	t.Helper()
	before := len(p.typed())
	fmt.Fprint(p.ours, keys)
	for range 2400 {
		if text := p.typed(); len(text) > before && strings.Contains(text[before:], want) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("after %q the terminal does not show %q, only:\n%q", keys, want, p.typed()[before:])
}

// completions are lines, and their completion with the Tab key in every shell.
var completions = map[string]string{
	"mod_wsgi-express star":                                 "start-server",
	"mod_wsgi-express start-server --evic":                  "--eviction-timeout",
	"mod_wsgi-express setup-server --auth-type Dig":         "Digest",
	"mod_wsgi-express start-server --log-directory /usr/sh": "/usr/share",
	"mod_wsgi-express completion fi":                        "fish",
	"mod_wsgi-express status --server-r":                    "--server-root",
}

func script(t *testing.T, dir, shell, name string) string {
	t.Helper()
	out, err := command(t, "completion", shell).Output()
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, name), string(out))
}

// TestCompletionInShells: bash, zsh and fish complete the launcher's command lines, on
// a terminal, with the Tab key.
//
// Once: the words come from the table.
func TestCompletionInShells(t *testing.T) {
	testEnv(t)
	interactive := func(t *testing.T, env []string, argv ...string) *terminal {
		p := newTerminal(t)
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env, cmd.Dir = env, t.TempDir()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.theirs, p.theirs, p.theirs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return p
	}
	tabs := func(t *testing.T, p *terminal) {
		for line, want := range completions {
			p.press(t, line+"\t", want)
			p.press(t, "\x15echo do''ne\n", "done") // Ctrl-U clears the line
		}
	}
	t.Run("bash", func(t *testing.T) {
		dir := t.TempDir()
		path, _, env := unpacked(t, "bash", "bash")
		p := interactive(t, env, path, "--norc", "--noprofile", "-i")
		p.press(t, "bind 'set bell-style none'; . "+script(t, dir, "bash", "complete.sh")+"; echo rea''dy\n", "ready")
		tabs(t, p)
	})
	t.Run("zsh", func(t *testing.T) {
		dir := t.TempDir()
		script(t, dir, "zsh", "_mod_wsgi-express")
		path, root, env := unpacked(t, "zsh", "zsh", "zsh-common")
		setup := "fpath=(" + dir + " $fpath)"
		if root != "" { // the command-line editor is a module
			setup = "module_path=(" + root + "/usr/lib/*-linux-gnu/zsh/*(/N)); fpath=(" + dir + " " + root + "/usr/share/zsh/functions/**/*(/N))"
		}
		write(t, filepath.Join(dir, ".zshrc"), setup+"\nautoload -Uz compinit && compinit -u -D\nunsetopt beep\n")
		p := interactive(t, append(env, "ZDOTDIR="+dir), path, "-d", "-i")
		p.press(t, "echo rea''dy\n", "ready")
		tabs(t, p)
	})
	t.Run("fish", func(t *testing.T) {
		dir := t.TempDir()
		name := script(t, dir, "fish", "mod_wsgi-express.fish")
		path, root, env := unpacked(t, "fish", "fish", "fish-common", "libpcre2-32-0")
		if root != "" { // fish looks for its files relative to its program
			if err := os.Symlink("../etc", filepath.Join(root, "usr", "etc")); err != nil {
				t.Fatal(err)
			}
		}
		for line, want := range completions {
			cmd := exec.CommandContext(t.Context(), path, "--no-config", "-c", "source "+name+"; complete -C "+strconv.Quote(line))
			cmd.Env, cmd.Dir = env, dir
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v %q, want %s", line, err, out, want)
			}
		}
	})
}

// TestTmux: the server continues while its tmux window is resized and detached, and
// ends when tmux is ended.
func TestTmux(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	path, _, env := unpacked(t, "tmux", "tmux", "libevent-core-2.1-7", "libutempter0")
	socket := filepath.Join(shortDir(t), "tmux")
	tmux := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	s := &server{t: t, port: freeport.Get(t), root: filepath.Join(shortDir(t), "r"), done: make(chan struct{})}
	own := command(t, append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)...)
	tmux(append([]string{"new-session", "-d", "-x", "80", "-y", "24", "-c", dir}, own.Args...)...)
	defer func() {
		cmd := exec.Command(path, "-S", socket, "kill-server")
		cmd.Env = env
		_ = cmd.Run()
	}()
	eventually(t, "the server answers", func() bool { return listening(s.address()) })
	pid := s.environ("/")["pid"]
	launched := strings.TrimSpace(tmux("list-panes", "-F", "#{pane_pid}"))
	for n := range 6 {
		tmux("resize-window", "-x", strconv.Itoa(60+10*n), "-y", strconv.Itoa(20+n))
		time.Sleep(50 * time.Millisecond) // as when a user drags a window
	}
	tmux("split-window", "-d")
	time.Sleep(300 * time.Millisecond) // nothing may happen meanwhile
	if now := s.environ("/")["pid"]; now != pid {
		t.Errorf("process %v became %v", pid, now)
	}
	if log := s.log(); strings.Contains(log, "SIGWINCH") {
		t.Errorf("httpd received a stop:\n%s", log)
	}
	if !strings.Contains(tmux("capture-pane", "-p", "-S", "-", "-t", "0.0"), "Server URL") {
		t.Error("the window does not show the banner")
	}
	tmux("kill-server")
	eventually(t, "the server ends with its terminal", func() bool {
		_, err := os.Stat("/proc/" + launched)
		return err != nil && !listening(s.address())
	})
}

func listening(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
