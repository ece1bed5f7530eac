package detect

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

//go:embed facts.py
var factsScript string

// askTimeout is how long an interpreter may take to answer. A cold one on a loaded
// machine needs two seconds.
var askTimeout = 30 * time.Second

// answer is the output of facts.py.
type answer struct {
	Executable     string            `json:"executable"`
	Prefix         string            `json:"prefix"`
	BasePrefix     string            `json:"base_prefix"`
	ExecPrefix     string            `json:"exec_prefix"`
	Cfg            string            `json:"cfg"`
	Version        string            `json:"version"`
	Major          int               `json:"major"`
	Minor          int               `json:"minor"`
	Implementation string            `json:"implementation"`
	ABIFlags       string            `json:"abiflags"`
	Platform       string            `json:"platform"`
	Paths          map[string]string `json:"paths"`
	Vars           map[string]string `json:"vars"`
	Sites          []string          `json:"sites"` // package directories that it imports from; nil if unknown
}

var errHung = errors.New("it did not answer in time")

// ask starts the interpreter once. Its environment has no variable that changes which
// Python it is (PYTHONHOME, PYTHONPATH, LD_PRELOAD, …). The caller's library path may
// also lead to the libpython of another Python, so the interpreter gets it only if it
// does not start without: a few Pythons have no other way to find their library.
func (d *Disk) ask(ctx context.Context, r *run.Runner, exe string, req Request) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errHung)
	defer cancel()
	account, why := d.accountFor(d.interpreterParts(exe)...)
	env, libraries := interpreterEnv(req.Env)
	start := run.Cmd{Argv: []string{exe, "-I", "-S", "-B", "-c", factsScript}, Dir: filepath.Dir(exe), Env: env, Account: account}
	out, err := r.Output(ctx, start)
	if err != nil && len(libraries) > 0 && ctx.Err() == nil {
		start.Env = append(env, libraries...)
		if again, errAgain := r.Output(ctx, start); errAgain == nil {
			out, err = again, nil
		}
	}
	if err != nil {
		return nil, notAsRoot(d.askError(exe, err), account, why)
	}
	a, err := decodeAnswer(out)
	if err != nil {
		return nil, fault.New(fault.Environment, hintGivePath, "query %s: %w", exe, err)
	}
	a.importable(d)
	if account != nil {
		return a, a.confined(d, exe)
	}
	return a, nil
}

func (d *Disk) askError(exe string, err error) error {
	var e *run.Error
	switch {
	case errors.Is(err, errHung):
		return fault.New(fault.Environment, "check that it works: "+run.Quote(exe)+" -c 'print(1)'",
			"query %s: it did not answer within %v", exe, askTimeout)
	case !errors.As(err, &e):
		return fmt.Errorf("query %s: %w", exe, err)
	case d.cannotStart(exe) != "":
		return fault.New(fault.Environment, hintGivePath, "%s does not start on this machine: %s", exe, d.cannotStart(exe))
	case strings.Contains(strings.Join(e.Tail, "\n"), "Unknown option: -I"):
		return fault.New(fault.Environment, "use Python 3.8 or newer", "%s is a Python before 3.4, which mod_wsgi does not support", exe)
	case len(e.Tail) > 0:
		return fault.New(fault.Environment, "check that it works: "+run.Quote(exe)+" -c 'print(1)'",
			"%s does not work as a Python interpreter: %w (output: %s)", exe, err, shortened(e.Tail[len(e.Tail)-1]))
	default:
		return fault.New(fault.Environment, "check that it works: "+run.Quote(exe)+" -c 'print(1)'",
			"%s does not work as a Python interpreter: %w", exe, err)
	}
}

// shortened cuts a program's output, which may quote its whole input.
func shortened(s string) string {
	const most = 200 // bytes
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}

// cannotStart explains why this host's kernel does not start a program, if the file
// shows it. The kernel's own message ("no such file or directory" for a missing
// loader) is misleading.
func (d *Disk) cannotStart(exe string) string {
	facts, err := d.elfFacts(exe)
	if err != nil {
		return ""
	}
	if facts.Interp != "" && !d.exists(facts.Interp) {
		return "it needs the loader " + facts.Interp + ", which does not exist (it was made for " + facts.Machine + " or another C library)"
	}
	if own, err := d.elfFacts("/proc/self/exe"); err == nil && own.Machine != facts.Machine {
		return "it is a program for " + facts.Machine + ", but this machine is " + own.Machine
	}
	return ""
}

// interpreterEnv keeps the variables that an interpreter needs to start at all, and
// separately those that name the caller's library directories.
func interpreterEnv(env []string) (needed, libraries []string) {
	kept := func(names ...string) (out []string) {
		for _, name := range names {
			if v := run.Getenv(env, name); v != "" {
				out = append(out, name+"="+v)
			}
		}
		return out
	}
	return append(kept("PATH", "HOME", "SystemRoot", "TEMP", "TMP"), "LC_ALL=C"), kept("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
}

func decodeAnswer(out []byte) (*answer, error) {
	_, rest, ok := bytes.Cut(out, []byte("\n<<<modwsgi "))
	body, _, end := bytes.Cut(rest, []byte(" modwsgi>>>"))
	if !ok || !end {
		return nil, errors.New("it did not answer as a Python interpreter does")
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	for _, s := range []*string{&a.Executable, &a.Prefix, &a.BasePrefix, &a.ExecPrefix, &a.Cfg, &a.Version, &a.ABIFlags} {
		*s = bytesOf(*s)
	}
	for _, m := range []map[string]string{a.Paths, a.Vars} {
		for k, v := range m {
			m[k] = bytesOf(v)
		}
	}
	for i := range a.Sites {
		a.Sites[i] = bytesOf(a.Sites[i])
	}
	for what, path := range map[string]string{"sys.prefix": a.Prefix, "sys.base_prefix": a.BasePrefix, "purelib": a.Paths["purelib"], "platlib": a.Paths["platlib"], "scripts": a.Paths["scripts"]} {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("its %s is %q, not an absolute path", what, path)
		}
	}
	return &a, nil
}

// bytesOf reverses the Latin-1 encoding of facts.py.
func bytesOf(s string) string {
	out := make([]byte, 0, len(s))
	for _, c := range s {
		out = append(out, byte(c))
	}
	return string(out)
}
