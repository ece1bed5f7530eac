package farm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// distcc sends preprocessed sources to whatever compiler of that name the other machine
// has. A machine with another version, or the same version with another assembler, returns
// objects that link and run, but differ. So before the first object, a sample is compiled
// here and on each host. Hosts that do not answer, or whose object has other bytes, are
// left out. Icecream chooses the machine itself and sends the compiler along, so one sample
// through its client is enough: it also waits until the compiler is packed.
//
// A host's compiler may change afterwards, and a script may stand for the client. So each
// object must also have been written by the local compiler's version. Objects that were not,
// and failures of any kind, are compiled here. Errors in a source are thus reported by the
// local compiler, and a farm that fails costs time, but no build.

// Options are what a session needs.
type Options struct {
	Farm    *Farm
	CC      []string // words of the local compiler
	Env     []string // environment of build tools, without the farm's variables
	Scratch string   // directory for the sample; created if missing
	Local   int      // number of concurrent tools on this machine, at least 1
	Runner  *run.Runner
	Note    func(string)
}

// Session is a farm during one run. A nil session compiles everything on this machine, with
// no limit.
type Session struct {
	o    Options
	pool *objgraph.Pool // slots for tools on this machine

	once   sync.Once
	usable bool
	writer string   // of local objects
	env    []string // corrections of the client's environment

	refused    sync.Map // options that were reported
	sent, back atomic.Int64
}

// Open starts a session; it is nil without a farm. Nothing is sent before the first object.
func Open(o Options) *Session {
	if o.Farm == nil {
		return nil
	}
	return &Session{o: o, pool: objgraph.NewPool(o.Local)}
}

// Here waits for one of the limited slots for tools on this machine: with a farm there are
// more jobs than this machine can run.
func (s *Session) Here(ctx context.Context) (release func(), err error) {
	if s == nil {
		return func() {}, nil
	}
	return s.pool.Acquire(ctx, 0)
}

// Local is the number of tools that may run on this machine, of the number of jobs.
func (s *Session) Local(jobs int) int {
	if s == nil {
		return jobs
	}
	return min(jobs, s.o.Local)
}

// Kind names the farm, "" for none.
func (s *Session) Kind() string {
	if s == nil {
		return ""
	}
	return s.o.Farm.Kind
}

// Compile compiles an object by c, whose first words are the local compiler's, on the farm
// if that is possible. object is the path of its output. do runs a command.
func (s *Session) Compile(ctx context.Context, c run.Cmd, object string, do func(run.Cmd) error) error {
	if s.takes(c.Argv) && s.ready(ctx, c.Argv) {
		far := c
		far.Argv, far.Env = s.o.Farm.command(c.Argv, c.Env)
		far.Env = append(far.Env, s.env...)
		s.sent.Add(1)
		err := do(far)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			who := writer(object)
			if who == s.writer {
				return nil
			}
			err = fmt.Errorf("the object was written by %s, not %s", compilerOf(who), compilerOf(s.writer))
			s.tell(who, fmt.Sprintf("%s: an object was compiled by %s instead of %s: compiled again on this machine", s.Kind(), compilerOf(who), compilerOf(s.writer)))
		}
		s.back.Add(1)
		if c.Log != nil {
			_, _ = fmt.Fprintf(c.Log, "%s failed (%v): compiling on this machine\n", s.Kind(), err)
		}
		if err := os.Remove(object); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	release, err := s.Here(ctx)
	if err != nil {
		return err
	}
	defer release()
	return do(c)
}

// tell shows a note once for each key.
func (s *Session) tell(key, note string) {
	if _, known := s.refused.LoadOrStore(key, true); !known {
		s.o.Note(note)
	}
}

// takes reports whether a command is one that a farm can run.
func (s *Session) takes(argv []string) bool {
	if s == nil || source(argv) == "" || len(argv) < len(s.o.CC) || !slices.Equal(argv[:len(s.o.CC)], s.o.CC) {
		return false
	}
	option := localOption(argv)
	if option != "" {
		s.tell(option, fmt.Sprintf("%s is not used for %s, which other machines may interpret differently", s.Kind(), option))
	}
	return option == ""
}

// Report notes how much the farm did, if it did something.
func (s *Session) Report() {
	if s == nil || s.sent.Load() == 0 {
		return
	}
	text := fmt.Sprintf("objects compiled through %s: %d", s.Kind(), s.sent.Load()-s.back.Load())
	if n := s.back.Load(); n > 0 {
		text += fmt.Sprintf("; failed there, and compiled on this machine: %d", n)
	}
	s.o.Note(text)
}

// Used reports whether any object of the session came from the farm.
func (s *Session) Used() bool { return s != nil && s.sent.Load() > s.back.Load() }

// Check compiles the sample as the first object would, and reports whether the farm can be
// used; notes say why not.
func (s *Session) Check(ctx context.Context) bool {
	argv := append(slices.Clone(s.o.CC), "-O2", "-g0", "-fPIC", "-c", "-o", "sample.o", "sample.c")
	return s.takes(argv) && s.ready(ctx, argv)
}

// ready checks the farm once, with the options of the first command.
func (s *Session) ready(ctx context.Context, argv []string) bool {
	s.once.Do(func() {
		if err := s.check(ctx, codeOptions(argv[len(s.o.CC):])); err != nil && ctx.Err() == nil {
			s.o.Note(s.Kind() + " is not used: " + err.Error())
		} else {
			s.usable = err == nil
		}
	})
	return s.usable
}

// Limits for the sample. Icecream packs the compiler first.
const (
	hostTimeout = 20 * time.Second
	packTimeout = 3 * time.Minute
	maxChecks   = 16 // hosts at once
)

// check compiles the sample here and on the farm.
func (s *Session) check(ctx context.Context, options []string) error {
	if err := os.MkdirAll(s.o.Scratch, 0o755); err != nil {
		return err
	}
	defer func() { _ = owned.RemoveAll(s.o.Scratch) }()
	if err := os.WriteFile(filepath.Join(s.o.Scratch, "sample.c"), []byte(sample), 0o644); err != nil {
		return err
	}
	base := slices.Concat(s.o.CC, options, []string{"-c", "-o"})
	if err := s.run(ctx, append(slices.Clone(base), "here.o", "sample.c"), s.o.Env); err != nil {
		return fmt.Errorf("compile a sample on this machine: %w", err)
	}
	want, err := os.ReadFile(filepath.Join(s.o.Scratch, "here.o"))
	if err != nil {
		return err
	}
	s.writer = writer(filepath.Join(s.o.Scratch, "here.o"))
	if s.writer == "" {
		return errors.New("the local compiler does not write ELF objects")
	}
	if s.o.Farm.Kind == Icecream {
		return s.checkIcecream(ctx, base, want)
	}
	return s.checkHosts(ctx, base, want)
}

// run runs a command in the scratch directory.
func (s *Session) run(ctx context.Context, argv, env []string) error {
	return s.o.Runner.Run(ctx, run.Cmd{Argv: argv, Dir: s.o.Scratch, Env: append(slices.Clone(env), "TMPDIR="+s.o.Scratch), Log: io.Discard})
}

// sample compiles the sample by the client and compares the result.
func (s *Session) sample(ctx context.Context, timeout time.Duration, base []string, want []byte, out string, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f := *s.o.Farm
	f.Ccache = false // which may have the object already
	argv := base
	if s.o.Farm.Ccache && filepath.Base(base[0]) == "ccache" {
		argv = base[1:]
	}
	argv, all := f.command(append(slices.Clone(argv), out, "sample.c"), s.o.Env)
	if err := s.run(ctx, argv, append(all, env...)); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", timeout)
		}
		return reason(err)
	}
	got, err := os.ReadFile(filepath.Join(s.o.Scratch, out))
	if err != nil {
		return err
	}
	switch who := writer(filepath.Join(s.o.Scratch, out)); {
	case bytes.Equal(got, want):
		return nil
	case who != s.writer:
		return fmt.Errorf("its compiler is %s, and that of this machine is %s", compilerOf(who), compilerOf(s.writer))
	}
	return fmt.Errorf("it compiles a sample to other bytes than this machine, with %s on both", compilerOf(s.writer))
}

// reason is the part of a client's error that says what happened.
func reason(err error) error {
	var e *run.Error
	if errors.As(err, &e) {
		for _, line := range e.Tail {
			if _, text, ok := strings.Cut(line, "ERROR: "); ok && !strings.Contains(text, "fallbacks are disabled") {
				return errors.New(text)
			}
		}
		if len(e.Tail) > 0 {
			return errors.New(e.Tail[len(e.Tail)-1])
		}
	}
	return err
}

// checkIcecream compiles the sample once, wherever icecream's scheduler wants it.
func (s *Session) checkIcecream(ctx context.Context, base []string, want []byte) error {
	if err := Answers(ctx, s.o.Farm, s.o.Env); err != nil {
		return err
	}
	return s.sample(ctx, packTimeout, base, want, "far.o")
}

// Answers reports whether icecream's daemon on this machine, which the client talks to,
// accepts connections. For distcc, which has none, it is nil.
func Answers(ctx context.Context, f *Farm, env []string) error {
	if f.Kind != Icecream {
		return nil
	}
	places := []string{run.Getenv(f.Env, "ICECC_TEST_SOCKET")}
	if places[0] == "" {
		places = []string{"/run/icecc/iceccd.socket", "/var/run/icecc/iceccd.socket", "/var/run/iceccd.socket", filepath.Join(run.Getenv(env, "HOME"), ".iceccd.socket")}
	}
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, place := range places {
		if c, err := d.DialContext(ctx, "unix", place); err == nil {
			_ = c.Close()
			return nil
		}
	}
	if c, err := d.DialContext(ctx, "tcp", "127.0.0.1:10245"); err == nil {
		_ = c.Close()
		return nil
	}
	return fmt.Errorf("its daemon on this machine, iceccd, does not answer (tried %s, port 10245)", strings.Join(places, ", "))
}

// checkHosts compiles the sample on each of distcc's hosts, and leaves out those that fail.
func (s *Session) checkHosts(ctx context.Context, base []string, want []byte) error {
	hosts, options, err := s.o.Farm.hosts(ctx, s.o.Runner, s.o.Env)
	if err != nil {
		return err
	}
	results := make([]error, len(hosts))
	var group sync.WaitGroup
	slots := make(chan struct{}, maxChecks)
	for i, host := range hosts {
		if strings.HasPrefix(host, "localhost") {
			continue
		}
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			dir := fmt.Sprintf("distcc%d", i) // the client remembers hosts that failed
			if results[i] = os.Mkdir(filepath.Join(s.o.Scratch, dir), 0o755); results[i] == nil {
				// Pump mode needs a server beside the build, and is no matter of the compiler.
				results[i] = s.sample(ctx, hostTimeout, base, want, fmt.Sprintf("far%d.o", i),
					"DISTCC_HOSTS="+strings.ReplaceAll(host, ",cpp", ""), "DISTCC_DIR="+filepath.Join(s.o.Scratch, dir))
			}
		})
	}
	group.Wait()
	var good []string
	remote := 0
	for i, host := range hosts {
		if results[i] != nil {
			s.o.Note(fmt.Sprintf("distcc host %s is not used: %v", host, results[i]))
			continue
		}
		good = append(good, host)
		if !strings.HasPrefix(host, "localhost") {
			remote++
		}
	}
	switch {
	case remote == 0 && len(hosts) == 0:
		return errors.New("it has no hosts: set DISTCC_HOSTS")
	case remote == 0:
		return errors.New("none of its hosts can be used")
	case len(good) < len(hosts):
		s.env = []string{"DISTCC_HOSTS=" + strings.Join(append(options, good...), " ")}
	}
	return nil
}

// hosts lists distcc's hosts and the options in front of them, as the user wrote them or as
// distcc reads them from its files.
func (f *Farm) hosts(ctx context.Context, r *run.Runner, env []string) (hosts, options []string, err error) {
	list := strings.Fields(run.Getenv(f.Env, "DISTCC_HOSTS"))
	if len(list) == 0 {
		out, err := r.Output(ctx, run.Cmd{Argv: []string{f.Client, "--show-hosts"}, Env: f.environment(env)})
		if err != nil {
			return nil, nil, errors.New("it has no hosts: set DISTCC_HOSTS")
		}
		list = strings.Fields(string(out))
	}
	for _, word := range list {
		switch {
		case strings.HasPrefix(word, "#"):
			return hosts, options, nil
		case strings.HasPrefix(word, "-"), strings.HasPrefix(word, "+"):
			options = append(options, word)
		default:
			hosts = append(hosts, word)
		}
	}
	return hosts, options, nil
}
