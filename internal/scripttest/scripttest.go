//go:build unix

// Package scripttest runs scripts of the command line (testdata/script/*.txtar,
// github.com/rogpeppe/go-internal/testscript) with the real commands and the tools
// that a script brings along: no compiler, no Python, no httpd, no network. It is
// imported by tests only.
//
// In the environment are PROGRAM, the path of the program under test, PORT, a free port,
// and ACCOUNT, the name of an account that may serve.
//
// Commands:
//
//	exits CODE PROGRAM ARGUMENTS...     run it, and expect this exit code
//	eventually CODE PROGRAM ARGUMENTS...  the same, again and again for a minute at most
//	json [EVENT:] PATH [VALUE]          what standard output has as JSON, see [json]
//	fake-python DIR [VERSION] [WITHOUT] a Python environment, see [fakePython]
//	fake-httpd DIR [VERSION]            an httpd, see [fakeHTTPD]
//	fake-cc DIR                         a C compiler, see [fakeCC]
//	fake-install DIR [VERSION]          what modwsgi install places into an environment, see [fakeInstall]
//	place-program PROGRAM FILE          a program once more, as FILE
package scripttest

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"modwsgi/internal/freeport"
)

var update = flag.Bool("update-scripts", false, "write what programs print into the files that scripts compare it with")

// real are the programs that the tests of this package call.
var real map[string]func()

// Main runs the tests of a package whose scripts call programs. The test's own
// program is also the programs, the fake interpreter and the fake httpd.
func Main(m *testing.M, programs map[string]func()) {
	switch called := os.Args[0]; {
	case isInterpreter(called):
		os.Exit(interpret(called, os.Args[1:], os.Stdout, os.Stderr))
	case strings.HasPrefix(filepath.Base(called), "httpd"): // the launcher names it "httpd (mod_wsgi-express)"
		os.Exit(serve(os.Args[1:], os.Stderr))
	}
	real = programs
	testscript.Main(m, programs)
}

// Run runs the scripts of a directory, each in a directory and with a home of its
// own. Of the caller's PATH only the programs under test are left.
func Run(t *testing.T, dir string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			programs, _, _ := strings.Cut(e.Getenv("PATH"), string(filepath.ListSeparator))
			e.Setenv("PATH", programs)
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			e.Setenv("LANG", "C.UTF-8")
			if len(real) == 1 {
				for name := range real {
					e.Setenv("PROGRAM", filepath.Join(programs, name))
				}
			}
			e.Setenv("PORT", strconv.Itoa(freeport.Get(t)))
			account, err := user.Current()
			if err != nil {
				return err
			}
			e.Setenv("ACCOUNT", account.Username)
			if os.Geteuid() == 0 { // who serves must be able to reach the files, and is not root
				e.Setenv("ACCOUNT", "nobody")
				if err := os.Chmod(filepath.Dir(e.WorkDir), 0o755); err != nil {
					return err
				}
			}
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
				e.Setenv(name, "http://127.0.0.1:9") // nobody answers there: no script reaches the network
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "eventually": eventually, "json": jsonCommand, "fake-python": fakePython, "fake-httpd": fakeHTTPD, "fake-cc": fakeCC, "fake-install": fakeInstall,
			"place-program": placeProgram,
		},
	})
}

// placeProgram has a program in another place. What cp of a script writes may not start
// (see [writeFile]).
func placeProgram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: place-program PROGRAM FILE")
	}
	to := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(to), 0o755))
	ts.Check(hardLink(args[0], to))
}

// writeFile writes a file that may be a program. Nothing is started meanwhile: a child
// that another script starts has every open file until its exec, and a program that is
// open for writing anywhere cannot be started ("text file busy",
// https://go.dev/issue/22315).
func writeFile(name string, data []byte, mode fs.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(name, data, mode)
}

// exits runs a program and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENTS...")
	}
	if code := run(ts, args[1:]); code != args[0] {
		ts.Fatalf("exit code %s, not %s", code, args[0])
	}
}

// eventually waits for what a program in the background brings about.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually CODE PROGRAM ARGUMENTS...")
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code := run(ts, args[1:])
		if code == args[0] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("exit code still %s, not %s", code, args[0])
		}
	}
}

// run returns the exit code of a program.
func run(ts *testscript.TestScript, argv []string) string {
	err := ts.Exec(argv[0], argv[1:]...)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return strconv.Itoa(ended.ExitCode())
	}
	ts.Check(err)
	return "0"
}

// Covered reports each command of a program that has no script of its own, named
// after it (cache-list.txtar), which shows its help and makes a mistake. A script
// for the program itself is named by whole.
func Covered(t *testing.T, dir, program, whole string, commands [][]string) {
	t.Helper()
	if len(commands) == 0 {
		t.Fatalf("%s lists no commands", program)
	}
	for _, words := range append(commands, nil) {
		name := filepath.Join(dir, strings.Join(words, "-")+".txtar")
		if len(words) == 0 {
			name = filepath.Join(dir, whole+".txtar")
		}
		command := strings.Join(append([]string{program}, words...), " ")
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s has no script: %s is missing", command, name)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		help, mistake := false, false
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "-- ") {
				break
			}
			fields := strings.Fields(line)
			at := slices.Index(fields, program)
			if at < 0 || !strings.HasPrefix(strings.Join(fields[at:], " ")+" ", command+" ") {
				continue
			}
			help = help || fields[0] == "exec" && slices.ContainsFunc(fields, func(f string) bool { return f == "--help" || f == "-h" })
			mistake = mistake || fields[0] == "exits" && fields[1] != "0"
		}
		if !help {
			t.Errorf("%s: no line shows the help: exec %s --help", name, command)
		}
		if !mistake {
			t.Errorf("%s: no line makes a mistake: exits CODE %s", name, command)
		}
	}
}
