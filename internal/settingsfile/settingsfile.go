// Package settingsfile finds the settings that a project keeps for a program: in a table
// of pyproject.toml, in the program's own file, or in a file that the user names. It also
// has the words for mistakes in them. It knows nothing about the keys.
//
// A file that another user can change is never obeyed. A pyproject.toml that does not have
// the table is another tool's affair: whatever it contains and whoever owns it, it is
// never an error.
package settingsfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/spelling"
	"modwsgi/internal/tomlfile"
)

// ProjectFile has the settings of many tools, each in a table of its name.
const ProjectFile = "pyproject.toml"

// None is the name that stands for no file.
const None = "none"

// Limit is the most that a file may have, in bytes.
const Limit = 1 << 20

// tool is the table of [ProjectFile] that contains those of the tools.
const tool = "tool"

// Finder finds the file of one program.
type Finder struct {
	Dir  string // working directory, absolute; "" if it is unknown
	Tool string // name of the program's table: [tool.NAME] in ProjectFile
	Own  string // name of the program's own file, which is preferred; "" if it has no such file

	Trusted func(file string) error // refuses a file that another user can change
	Warn    func(string)            // gets what the user may not expect; only needed with Own
}

// File is a table with settings, and where it was found.
type File struct {
	Path  string // absolute
	Name  string // in messages: relative in the working directory
	Table *tomlfile.Table
	tool  string
	dir   string
}

// Section returns the name of a tool's table as it is written in [ProjectFile].
func Section(name string) string { return "[" + tool + "." + name + "]" }

// Dir returns the directory that relative paths in the file are below.
func (f *File) Dir() string { return f.dir }

// At names a line of the file: "pyproject.toml:3".
func (f *File) At(line int) string { return fmt.Sprintf("%s:%d", f.Name, line) }

// Find returns the file that the user has named, or the one in the working directory for
// "". It returns nil for [None], and if the directory has none. by is where the user has
// named it, as in "--config".
func (f Finder) Find(name, by string) (*File, error) {
	switch name {
	case None:
		return nil, nil
	case "":
		return f.search()
	}
	path := name
	if !filepath.IsAbs(path) {
		if f.Dir == "" {
			return nil, fault.New(fault.Usage, "pass an absolute path", "%s %s: the working directory is unknown", by, name)
		}
		path = filepath.Join(f.Dir, path)
	}
	found, err := f.obey(path, by)
	if found == nil && err == nil {
		err = fault.New(fault.Usage, "write the settings below "+Section(f.Tool)+", or name another file", "%s: %s does not have the table %s", by, path, Section(f.Tool))
	}
	return found, err
}

// search reads the file in the working directory, if there is one.
func (f Finder) search() (*File, error) {
	if f.Dir == "" {
		return nil, nil
	}
	var own []byte
	if f.Own != "" {
		var err error
		if own, err = f.there(f.Own); err != nil {
			return nil, err
		}
	}
	project, err := f.there(ProjectFile)
	if err != nil && f.Warn != nil {
		f.Warn(err.Error() + ": its table " + Section(f.Tool) + ", if it has one, is not used")
	}
	relevant := f.mentions(project)
	name := ProjectFile
	switch {
	case own != nil:
		name = f.Own
		if relevant {
			f.Warn(fmt.Sprintf("%s is read, and %s of %s is not", f.Own, Section(f.Tool), ProjectFile))
		}
	case !relevant:
		return nil, nil
	}
	return f.obey(filepath.Join(f.Dir, name), "the configuration file "+name)
}

// mentions reports whether the text has a line that may begin the program's table. The
// file may be another user's, so it is not parsed yet.
func (f Finder) mentions(text []byte) bool {
	name := `["']?` + regexp.QuoteMeta(f.Tool) + `["']?`
	return regexp.MustCompile(`(?m)^[ \t]*(?:\[+[ \t]*)?(?:["']?` + tool + `["']?[ \t]*\.[ \t]*)?` + name + `[ \t]*[].=]`).Match(text)
}

// there returns the contents of a file in the working directory, or nil if it does not
// exist.
func (f Finder) there(name string) ([]byte, error) {
	data, err := owned.ReadInput(filepath.Join(f.Dir, name), Limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.New(fault.Usage, "let this account read it, or pass --config none", "read the configuration file: %w", err)
	case data == nil:
		data = []byte{}
	}
	return data, nil
}

// obey reads a file that no other user can change.
func (f Finder) obey(path, by string) (*File, error) {
	var err error
	if !owned.Descriptor(path) { // whoever opened that has decided
		err = f.Trusted(path)
	}
	var data []byte
	if err == nil {
		data, err = owned.ReadInput(path, Limit)
	}
	if err != nil {
		return nil, unread(by, path, err)
	}
	return f.parse(path, data)
}

func unread(by, path string, err error) error {
	switch {
	case owned.IsUntrusted(err):
		return fault.New(fault.Environment, "let nobody else write to it, or pass the options on the command line with --config none; "+
			"in a container that nobody else uses, name the directory in "+owned.TrustedVariable, "%s: %w", by, err)
	case fault.HintOf(err) != "": // it is complete
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "name a file that exists, or none", "%s: %s does not exist", by, path)
	}
	return fault.New(fault.Usage, "name a file with options in TOML, or none", "%s: read the configuration file: %w", by, err)
}

// parse returns the table with the settings, or nil if a ProjectFile does not have it.
func (f Finder) parse(path string, text []byte) (*File, error) {
	found := &File{Path: path, Name: path, tool: f.Tool, dir: filepath.Dir(path)}
	if owned.Descriptor(path) {
		found.dir = f.Dir
	}
	if f.Dir != "" && filepath.Dir(path) == f.Dir {
		found.Name = filepath.Base(path)
	}
	var only []string
	if filepath.Base(path) == ProjectFile {
		only = []string{tool, f.Tool}
	}
	doc, err := tomlfile.Parse(string(text), only...)
	var s *tomlfile.SyntaxError
	if errors.As(err, &s) {
		return nil, fault.New(fault.Usage, "https://toml.io describes the format", "%s: %s", found.At(max(s.Line, 1)), s.Reason)
	}
	if filepath.Base(path) == ProjectFile {
		if doc, err = found.section(doc); doc == nil {
			return nil, err
		}
	}
	found.Table = doc
	return found, nil
}

// section returns the program's table of a ProjectFile, or nil if it does not have it.
func (f *File) section(doc *tomlfile.Table) (*tomlfile.Table, error) {
	at, path := doc, ""
	for _, name := range []string{tool, f.tool} {
		e, ok := at.Get(name)
		if !ok {
			return nil, nil
		}
		path = strings.TrimPrefix(path+"."+name, ".")
		if at, ok = e.Value.(*tomlfile.Table); !ok {
			return nil, fault.New(fault.Usage, "write "+Section(f.tool)+" on a line before the options", "%s: %s is not a table", f.At(e.Line), path)
		}
	}
	return at, nil
}

// Unknown describes a key that is not one of the names. near are those to suggest.
func (f *File) Unknown(key string, known func(name string) bool, near []string) string {
	text := "unknown key " + plain(key)
	name := strings.TrimLeft(key, "-")
	switch dashed := strings.ToLower(strings.ReplaceAll(name, "_", "-")); {
	case dashed != key && known(dashed):
		text += ": write " + dashed
	case key == tool || key == f.tool:
		text += fmt.Sprintf(": only %s has %s; here options stand at the top", ProjectFile, Section(f.tool))
	default:
		if similar := Nearest(name, near); similar != "" {
			text += ": did you mean " + similar + "?"
		}
	}
	return text
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// plain returns a key for a message, in quotes if it has other characters than keys
// without quotes.
func plain(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return strconv.Quote(key)
}

// Nearest returns the most similar name, or "" if none is similar.
func Nearest(name string, names []string) string {
	return spelling.Nearest(name, names, max(2, len(name)/3))
}
