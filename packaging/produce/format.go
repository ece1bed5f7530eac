package produce

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/release"
)

// Format is a kind of artifact: what it is called, the systems it can be made
// for on this machine, its options, and how it is written.
type Format struct {
	Name    string
	Targets []string // "linux/amd64"; none for a format that a release.toml cannot name
	Options []Option
	Command Command // "modwsgi package NAME"; the zero value for none
	From    From

	// Write makes the artifacts of one job, and returns warnings for the user. It
	// may run concurrently with other jobs.
	Write func(ctx context.Context, w *Work) ([]string, error)
	// WriteHTTPD makes what is the same for every Python of one httpd; nil for
	// nothing.
	WriteHTTPD func(ctx context.Context, w *Work) ([]string, error)

	// Check refuses what a single command asks for before anything is opened; nil
	// checks nothing. It may change the request.
	Check func(o *Single) error
	// Reach checks what is outside of this machine before anything is built; nil
	// checks nothing.
	Reach func(ctx context.Context, w *Work) error
	// Trees returns finished trees that the options name; with none, they are built.
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
	// Arguments is the hint about positional arguments, which follow "--" and
	// become the option "args"; "" for a command without any.
	Arguments string
	// NoBundle is the error for a user who gives --bundle; nil ignores the flag where
	// the format has no such option.
	NoBundle func() error
	// Next returns what to tell a user after the summary.
	Next func(r *Result, v Values) []string
}

// Option is one choice of a format: a flag of its command, a key of its table in
// a release.toml, or both.
type Option struct {
	Name    string // the key, "build_number"; the flag is --build-number
	Kind    matrix.Kind
	Default any // string, int, bool or []string; nil for the zero value
	// Help is the text of the flag; "" for one that every command has already, or
	// for a key without a flag.
	Help string
	// FlagOnly is for an option that a release.toml cannot set.
	FlagOnly bool
	// Path is for a path, or a list of them: relative ones start from the working
	// directory, or from the release.toml.
	Path bool
	// Check refuses a value; its text says what to give.
	Check func(any) error
}

// Flag is the option's name on the command line, without the dashes.
func (o Option) Flag() string { return strings.ReplaceAll(o.Name, "_", "-") }

// Values are the options of one format, by their keys. Numbers are int or int64,
// lists []string or []any: as flags and a release.toml have them.
type Values map[string]any

// Text is the value of an option, "" where it is not set.
func (v Values) Text(key string) string {
	s, _ := v[key].(string)
	return s
}

// Number is the value of an option, 0 where it is not set.
func (v Values) Number(key string) int {
	switch n := v[key].(type) {
	case int:
		return n
	case int64:
		return int(n)
	}
	return 0
}

// Flag is the value of an option, false where it is not set.
func (v Values) Flag(key string) bool {
	b, _ := v[key].(bool)
	return b
}

// List is the value of an option.
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

// complete returns the values with the defaults filled in and relative paths
// resolved by abs.
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

// check refuses values of flags.
func (f Format) check(v Values) error {
	for _, o := range f.Options {
		value, given := v[o.Name]
		if !given || o.Check == nil {
			continue
		}
		err := o.Check(value)
		if text, is := value.(string); err != nil && is {
			return fault.New(fault.Usage, err.Error(), "--%s %q is not known", o.Flag(), text)
		} else if err != nil {
			return fault.New(fault.Usage, err.Error(), "--%s %v is not allowed", o.Flag(), value)
		}
	}
	return nil
}

// Work is one call of a format's Write.
type Work struct {
	*Settings
	Dist   *packaging.Dist // where artifacts are written to
	Time   time.Time       // of every entry
	Target string          // "linux/amd64"
	Trees  []*Tree         // one per job, unless the format takes all of them
	Values Values
	// Label tells several httpds of a release apart; "" where there is one.
	Label   string
	Signers []release.Signer
	// Base makes paths of the options' values absolute.
	Base func(string) string
	// facts are what a format found out about what it made, for the summary.
	facts map[string]string
}

// Tree is the only tree of a job.
func (w *Work) Tree() *Tree { return w.Trees[0] }

// Stage is the stage of the only tree of a job.
func (w *Work) Stage() *packaging.Stage { return w.Trees[0].Stage }

// Fact records what a summary shows beside the artifact.
func (w *Work) Fact(key, value string) {
	if value != "" && w.facts != nil {
		w.facts[key] = value
	}
}

// Formats lists everything that can be packaged, in the order of a release.
func Formats() []Format {
	all := []Format{wheelFormat(), zipFormat()}
	all = append(all, linuxFormats()...)
	return append(all, imageFormat(), sdistFormat())
}

// Find returns the format of that name; it must exist.
func Find(name string) Format {
	all := Formats()
	return all[slices.IndexFunc(all, func(f Format) bool { return f.Name == name })]
}

// describe returns a format in the words of a release.toml.
func (f Format) describe() matrix.Format {
	m := matrix.Format{Name: f.Name, Platforms: f.Targets, Options: map[string]matrix.Kind{}, Check: map[string]func(any) error{}}
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

// Known lists the formats that a release.toml may name on this machine.
func Known() []matrix.Format {
	var all []matrix.Format
	for _, f := range Formats() {
		if len(f.Targets) > 0 {
			all = append(all, f.describe())
		}
	}
	return all
}

// host is this machine as a target.
const host = runtime.GOOS + "/" + runtime.GOARCH

// withWindows adds the target that modules are cross-compiled for.
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

// between refuses numbers out of a range; hint says what to give.
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
