package produce

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/platform"
	"modwsgi/internal/target"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/release"
)

// Format is a kind of artifact: its name, the systems that this machine can make it
// for, its options, and how to write it.
type Format struct {
	Name    string
	Targets []string // "linux/amd64"; none for a format that a release.toml cannot name
	Options []Option
	Command Command // "modwsgi package NAME"; the zero value for none
	From    From
	// Foreign refuses Linux systems that it cannot be made for on another machine. nil
	// refuses every one.
	Foreign func(t target.Target) error
	// Fits refuses a system's sysroot from which it cannot be made, before anything is
	// built, and returns warnings for the user; nil accepts every one.
	Fits func(o *Settings, c *installer.Cross, v Values) ([]string, error)
	// Here refuses a Python of this machine from which it cannot be made, before anything
	// is built; nil accepts every one.
	Here func(o *Settings, py *detect.Python, v Values) error
	// Runs reports whether the artifacts have the Python of another system in them, with
	// everything that it needs to run; nil if they never do.
	Runs func(v Values) bool

	// Write makes the artifacts of one job and returns warnings for the user. It may
	// run concurrently with other jobs.
	Write func(ctx context.Context, w *Work) ([]string, error)
	// WriteHTTPD makes the artifacts that are the same for every Python of one httpd;
	// nil for none.
	WriteHTTPD func(ctx context.Context, w *Work) ([]string, error)

	// Check refuses the options of a single command before anything is opened; nil
	// checks nothing. It may change the request.
	Check func(o *Single) error
	// Reach checks what is outside this machine before anything is built; nil checks
	// nothing.
	Reach func(ctx context.Context, w *Work) error
	// Finished reports whether the artifacts are made from finished trees alone, with
	// nothing of this machine; nil if they never are.
	Finished func(v Values) bool
	// Trees returns the finished trees that the options name. If it returns none, they
	// are built.
	Trees func(o *Single, at time.Time) ([]*Tree, error)
}

// From is what one job of a format is made from.
type From int

// The kinds of jobs.
const (
	EachTree From = iota // one job per tree, and one per Python version
	AllTrees             // one job for all trees
	NoTree               // one job, which needs no build
)

// Command holds the texts of a format's own command.
type Command struct {
	Use, Short, Long, Example string
	// Arguments is the hint about positional arguments, which follow "--" and become
	// the option "args"; "" for a command without any.
	Arguments string
	// NoBundle is the error for a user who passes --bundle. If nil, a format without
	// that option ignores it.
	NoBundle func() error
	// Next returns the lines to print after the summary.
	Next func(r *Result, v Values) []string
}

// Option is one choice of a format: a flag of its command, a key of its table in a
// release.toml, or both.
type Option struct {
	Name    string // the key, "build_number"; the flag is --build-number
	Kind    matrix.Kind
	Default any // string, int, bool or []string; nil for the zero value
	// Help is the help text of the flag; "" for a flag that every command has already,
	// or for a key without a flag.
	Help string
	// FlagOnly marks an option that a release.toml cannot set.
	FlagOnly bool
	// Path marks a path, or a list of paths. Relative ones start from the working
	// directory, or from the release.toml.
	Path bool
	// Check refuses a value; its message says what to pass instead.
	Check func(any) error
}

// Flag is the option's name on the command line, without the dashes.
func (o Option) Flag() string { return strings.ReplaceAll(o.Name, "_", "-") }

// Values are the options of one format, by key. Numbers are int or int64, lists
// []string or []any, as flags and a release.toml provide them.
type Values map[string]any

// Text returns the value of an option, "" if it is not set.
func (v Values) Text(key string) string {
	s, _ := v[key].(string)
	return s
}

// Number returns the value of an option, 0 if it is not set.
func (v Values) Number(key string) int {
	switch n := v[key].(type) {
	case int:
		return n
	case int64:
		return int(n)
	}
	return 0
}

// Flag returns the value of an option, false if it is not set.
func (v Values) Flag(key string) bool {
	b, _ := v[key].(bool)
	return b
}

// List returns the value of an option.
func (v Values) List(key string) []string {
	if all, ok := v[key].([]string); ok {
		return all
	}
	var all []string
	values, _ := v[key].([]any)
	for _, one := range values {
		if s, ok := one.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// complete returns the values with defaults filled in and relative paths resolved by
// abs.
func (f Format) complete(given Values, abs func(string) string) Values {
	v := Values{}
	for _, o := range f.Options {
		value, ok := given[o.Name]
		if !ok {
			value = o.Default
		}
		if text, is := value.(string); is && o.Path && text != "" {
			value = abs(text)
		}
		if o.Path && o.Kind == matrix.Strings {
			var all []string
			for _, path := range (Values{"": value}).List("") {
				all = append(all, abs(path))
			}
			value = all
		}
		if value != nil {
			v[o.Name] = value
		}
	}
	return v
}

// check refuses invalid values of flags.
func (f Format) check(v Values) error {
	for _, o := range f.Options {
		value, given := v[o.Name]
		if !given || o.Check == nil {
			continue
		}
		err := o.Check(value)
		if text, is := value.(string); err != nil && is {
			return fault.New(fault.Usage, err.Error(), "unknown --%s %q", o.Flag(), text)
		} else if err != nil {
			return fault.New(fault.Usage, err.Error(), "invalid --%s %v", o.Flag(), value)
		}
	}
	return nil
}

// Work is one call of a format's Write.
type Work struct {
	*Settings
	Dist   *packaging.Dist // output of the artifacts
	Time   time.Time       // timestamp of every entry
	Target string          // "linux/amd64"
	// Twin is the C library, "glibc2.31", if the run has another system with the same CPU, so
	// that the names of artifacts must tell them apart; otherwise "".
	Twin   string
	Trees  []*Tree // one tree, unless the format takes all of them
	Values Values
	// Label distinguishes the httpds of a release; "" if it has one.
	Label   string
	Signers []release.Signer
	// Base makes the paths in the options absolute.
	Base func(string) string
	// facts are what a format found out about its output, for the summary.
	facts map[string]string
}

// Tree returns the only tree of a job.
func (w *Work) Tree() *Tree { return w.Trees[0] }

// Stage returns the stage of the only tree of a job.
func (w *Work) Stage() *packaging.Stage { return w.Trees[0].Stage }

// Fact records a fact that the summary shows next to the artifact.
func (w *Work) Fact(key, value string) {
	if value != "" && w.facts != nil {
		w.facts[key] = value
	}
}

// describe converts a format to the terms of a release.toml.
func (f Format) describe(on platform.System) matrix.Format {
	m := matrix.Format{Name: f.Name, Platforms: slices.DeleteFunc(slices.Clone(f.Targets), func(t string) bool { return !on.Makes(t) }), Options: map[string]matrix.Kind{}, Check: map[string]func(any) error{}}
	if on.Builds() {
		m.Other = f.other
	}
	for _, o := range f.Options {
		if o.FlagOnly {
			continue
		}
		m.Options[o.Name] = o.Kind
		if o.Check != nil {
			m.Check[o.Name] = o.Check
		}
	}
	return m
}

// other refuses another system than those in Targets, for which this machine can make the
// format if it has a compiler and a sysroot.
func (f Format) other(name string) error {
	here, err := target.Host()
	if err != nil {
		return err
	}
	t, err := target.Parse(name, here)
	switch {
	case err != nil:
		return err
	case t.OS == target.Windows || f.Foreign == nil:
		return fmt.Errorf("%s is not made for %s on this machine", f.Name, name)
	}
	return f.Foreign(t)
}

// hostOn is this machine as a target, if it runs a system.
func hostOn(on platform.System) string { return on.Name() + "/" + runtime.GOARCH }

// host is this machine as a target.
const host = runtime.GOOS + "/" + runtime.GOARCH

// withWindows adds the target that modules can be cross-compiled for.
func withWindows(targets ...string) []string {
	if slices.Contains(targets, windows.Target) {
		return targets
	}
	return append(targets, windows.Target)
}

func oneOf(values ...string) func(any) error {
	return func(v any) error {
		for _, one := range values {
			if v == one {
				return nil
			}
		}
		last := len(values) - 1
		return errors.New("give " + strings.Join(values[:last], ", ") + " or " + values[last])
	}
}

// between refuses numbers out of a range; the hint says what to pass.
func between(low, high int, hint string) func(any) error {
	return func(v any) error {
		if n := (Values{"": v}).Number(""); n < low || n > high {
			return errors.New(hint)
		}
		return nil
	}
}

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
