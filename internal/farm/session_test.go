package farm

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"modwsgi/internal/run"
)

// lab is a directory with a source, and a script in place of distcc's client.
type lab struct {
	dir   string
	notes []string
	mu    sync.Mutex
	s     *Session
}

// newLab makes one with the compiler of this machine. script is the client: "$@" is the
// command to run for $DISTCC_HOSTS.
func newLab(t *testing.T, hosts, script string) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no compiler")
	}
	if _, err := run.LookPath("gcc", os.Environ()); err != nil {
		t.Skip(err)
	}
	l := &lab{dir: t.TempDir()}
	l.write(t, "distcc", "#!/bin/sh\necho \"$DISTCC_HOSTS\" >>"+l.dir+"/calls\n"+script)
	l.write(t, "a.c", "int answer(void) { return 42; }\n")
	l.s = Open(Options{
		Farm: &Farm{Kind: Distcc, Client: filepath.Join(l.dir, "distcc"), Env: []string{"DISTCC_HOSTS=" + hosts}}, CC: []string{"gcc"},
		Env: []string{"PATH=" + os.Getenv("PATH")}, Scratch: filepath.Join(l.dir, "farm"), Local: 1, Runner: &run.Runner{},
		Note: func(text string) { l.mu.Lock(); l.notes = append(l.notes, text); l.mu.Unlock() },
	})
	return l
}

func (l *lab) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// compile compiles a.c, and returns the object and the log.
func (l *lab) compile(t *testing.T, options ...string) (object []byte, log string, err error) {
	t.Helper()
	var out bytes.Buffer
	argv := append([]string{"gcc", "-O2"}, append(options, "-c", "-o", "a.o", "a.c")...)
	c := run.Cmd{Argv: argv, Dir: l.dir, Env: []string{"PATH=" + os.Getenv("PATH")}, Log: &out}
	name := filepath.Join(l.dir, "a.o")
	err = l.s.Compile(t.Context(), c, name, func(c run.Cmd) error { return (&run.Runner{}).Run(t.Context(), c) })
	object, _ = os.ReadFile(name)
	return object, out.String(), err
}

func (l *lab) said(text string) bool {
	return strings.Contains(strings.Join(l.notes, "\n"), text)
}

// local is what the compiler of this machine writes.
func (l *lab) local(t *testing.T) []byte {
	t.Helper()
	other := &lab{dir: l.dir}
	object, _, err := other.compile(t)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// The sample goes to each host, and then objects to all.
func TestObjectsGoToTheFarm(t *testing.T) {
	l := newLab(t, "one/4 two,lzo localhost/2", `exec "$@"`+"\n")
	object, _, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || len(l.notes) > 0 {
		t.Errorf("%v, notes %q", err, l.notes)
	}
	calls, _ := os.ReadFile(filepath.Join(l.dir, "calls"))
	if got := string(calls); strings.Count(got, "\n") != 3 || !strings.Contains(got, "one/4\n") || !strings.Contains(got, "two,lzo\n") || !strings.HasSuffix(got, "one/4 two,lzo localhost/2\n") {
		t.Errorf("the client was called for %q", got)
	}
	l.s.Report()
	if !l.s.Used() || !l.said("objects compiled through distcc: 1") {
		t.Errorf("notes %q", l.notes)
	}
}

// ccache runs the client for what it does not have, and only then.
func TestCcacheRunsTheClient(t *testing.T) {
	if _, err := run.LookPath("ccache", os.Environ()); err != nil {
		t.Skip(err)
	}
	l := newLab(t, "host", `exec "$@"`+"\n")
	want := l.local(t)
	l.s.o.Farm.Ccache, l.s.o.CC = true, []string{"ccache", "gcc"}
	for round, calls := range []int{2, 2} { // the sample and the object; nothing
		c := run.Cmd{Argv: []string{"ccache", "gcc", "-O2", "-c", "-o", "a.o", "a.c"}, Dir: l.dir, Env: []string{"PATH=" + os.Getenv("PATH"), "CCACHE_DIR=" + filepath.Join(l.dir, "ccache")}}
		if err := l.s.Compile(t.Context(), c, filepath.Join(l.dir, "a.o"), func(c run.Cmd) error { return (&run.Runner{}).Run(t.Context(), c) }); err != nil {
			t.Fatal(err)
		}
		object, _ := os.ReadFile(filepath.Join(l.dir, "a.o"))
		data, _ := os.ReadFile(filepath.Join(l.dir, "calls"))
		if n := strings.Count(string(data), "\n"); n != calls || !bytes.Equal(object, want) || len(l.notes) > 0 {
			t.Errorf("round %d: %d calls of the client, notes %q", round, n, l.notes)
		}
	}
}

// A host that does not answer is left out, and its client's warnings do not fail a build.
func TestHostThatIsDown(t *testing.T) {
	l := newLab(t, "--randomize up down", `case " $DISTCC_HOSTS " in *" down "*) echo 'distcc[1] ERROR: connection refused' >&2; exit 103;; esac
exec "$@"
`)
	object, _, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || !l.s.Used() {
		t.Errorf("%v, used %v", err, l.s.Used())
	}
	if !l.said("distcc host down is not used: connection refused") || len(l.notes) != 1 {
		t.Errorf("notes %q", l.notes)
	}
	calls, _ := os.ReadFile(filepath.Join(l.dir, "calls"))
	if !strings.HasSuffix(string(calls), "--randomize up\n") {
		t.Errorf("the object went to %q", calls)
	}
}

func TestFarmThatIsDown(t *testing.T) {
	l := newLab(t, "one two", "exit 103\n")
	object, _, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || l.s.Used() || !l.said("distcc is not used: none of its hosts can be used") {
		t.Errorf("%v, notes %q", err, l.notes)
	}
}

// Another compiler on a host is found by the sample.
func TestHostWithAnotherCompiler(t *testing.T) {
	if _, err := run.LookPath("clang", os.Environ()); err != nil {
		t.Skip(err)
	}
	l := newLab(t, "good other", `[ "$DISTCC_HOSTS" = other ] && shift && exec clang "$@"
exec "$@"
`)
	object, _, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || !l.said("distcc host other is not used: its compiler is") || !l.said("clang") {
		t.Errorf("%v, notes %q", err, l.notes)
	}
}

// The same compiler that generates other code has the same version string.
func TestHostThatGeneratesOtherCode(t *testing.T) {
	l := newLab(t, "other", `exec "$@" -fno-tree-vectorize -fno-inline -O1`+"\n")
	object, _, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || !l.said("other bytes than this machine") || l.s.Used() {
		t.Errorf("%v, notes %q", err, l.notes)
	}
}

// A host that changes its compiler after the sample: each object is checked.
func TestCompilerThatChanges(t *testing.T) {
	if _, err := run.LookPath("clang", os.Environ()); err != nil {
		t.Skip(err)
	}
	l := newLab(t, "host", `case "$*" in *sample.c) exec "$@";; esac
shift; exec clang "$@"
`)
	object, log, err := l.compile(t)
	if err != nil || !bytes.Equal(object, l.local(t)) || !l.said("compiled again on this machine") || !strings.Contains(log, "compiling on this machine") || l.s.Used() {
		t.Errorf("%v, notes %q, log %s", err, l.notes, log)
	}
	l.s.Report()
	if !l.said("failed there, and compiled on this machine: 1") {
		t.Errorf("notes %q", l.notes)
	}
}

// A client that fails, or that leaves no object or half of one, costs no build.
func TestClientThatFails(t *testing.T) {
	for name, script := range map[string]string{
		"exit code":      "exit 1",
		"killed":         "kill -9 $$",
		"no object":      "exit 0",
		"half an object": "echo half >a.o; exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, "host", `case "$*" in *sample.c) exec "$@";; esac
`+script+"\n")
			object, _, err := l.compile(t)
			if err != nil || !bytes.Equal(object, l.local(t)) {
				t.Errorf("%v, %d bytes", err, len(object))
			}
		})
	}
}

// An error in a source is reported by the local compiler.
func TestErrorInASource(t *testing.T) {
	l := newLab(t, "host", `exec "$@"`+"\n")
	l.write(t, "a.c", "int answer(void) { return nothing; }\n")
	_, log, err := l.compile(t)
	if err == nil || !strings.Contains(log, "nothing") {
		t.Errorf("%v: %s", err, log)
	}
}

// Options that mean something else on another machine are not sent.
func TestLocalOptions(t *testing.T) {
	for _, option := range []string{"-march=native", "-B/opt/tools", "--sysroot=/"} {
		l := newLab(t, "host", `exec "$@"`+"\n")
		if _, _, err := l.compile(t, option); err != nil || l.s.Used() || !l.said("distcc is not used for "+option) {
			t.Errorf("%s: %v, notes %q", option, err, l.notes)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	s := Open(Options{Farm: &Farm{Kind: Distcc}, CC: []string{"ccache", "gcc"}, Note: func(string) {}})
	for command, want := range map[string]bool{
		"ccache gcc -O2 -c -o a.o a.c":    true,
		"ccache gcc -O2 -c a.c -o a.o":    true,
		"gcc -c -o a.o a.c":               false, // not the compiler of the build
		"ccache gcc -o program a.c":       false,
		"ccache gcc -E a.c":               false,
		"ccache gcc -c -o a.o a.s":        false,
		"ccache gcc -shared -o a.so a.o":  false,
		"ccache gcc @flags -c -o a.o a.c": false,
	} {
		if got := s.takes(strings.Fields(command)); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
	if Open(Options{}).takes([]string{"gcc", "-c", "a.c"}) {
		t.Error("no farm takes something")
	}
}

// However many jobs there are, no more tools run here than this machine can.
func TestToolsHereAreLimited(t *testing.T) {
	s := Open(Options{Farm: &Farm{Kind: Distcc}, Local: 2, Note: func(string) {}})
	var running, most atomic.Int32
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			err := s.Compile(t.Context(), run.Cmd{Argv: []string{"ld"}}, "x", func(run.Cmd) error {
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				running.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at once", most.Load())
	}
	if s.Local(40) != 2 || s.Local(1) != 1 || (*Session)(nil).Local(40) != 40 {
		t.Error("wrong number of jobs for make")
	}
}

func TestCancelledCompilation(t *testing.T) {
	l := newLab(t, "host", `exec "$@"`+"\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	count := 0
	err := l.s.Compile(ctx, run.Cmd{Argv: []string{"gcc", "-c", "-o", "a.o", "a.c"}, Dir: l.dir}, filepath.Join(l.dir, "a.o"), func(run.Cmd) error {
		count++
		cancel(stop)
		return errors.New("killed")
	})
	if !errors.Is(err, stop) || count != 1 {
		t.Errorf("%v after %d commands", err, count)
	}
}

// Icecream's client needs a daemon on this machine.
func TestAnswers(t *testing.T) {
	dir, err := os.MkdirTemp("", "farm") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "socket")
	f := &Farm{Kind: Icecream, Env: []string{"ICECC_TEST_SOCKET=" + socket}}
	if c, err := net.Dial("tcp", "127.0.0.1:10245"); err == nil {
		_ = c.Close()
		t.Skip("this machine runs iceccd")
	}
	if err := Answers(t.Context(), f, nil); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("got %v", err)
	}
	server, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := Answers(t.Context(), f, nil); err != nil {
		t.Error(err)
	}
}
