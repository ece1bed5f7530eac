// Package shortage recognizes errors that mean that the system, a limit of the user
// or a file system has run out of something: space, inodes, quota, size of a file,
// open files, memory, processes; or that it is read-only. Such errors come up
// anywhere, in system calls of ours and in what compilers print, and whoever meets one
// tells of the work that failed ("the compiler cannot build a program"), which is true
// and misleads. This package knows the reason and what to do, and nothing of the work.
//
// It goes by the words of the error and of the last lines of the tool that failed: a
// tool passes nothing else on. They are those of strerror(3) in the C locale, in which
// all tools run, and of Go, whose words for these are the same.
package shortage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Kind is what has run out.
type Kind int

// The kinds.
const (
	Space     Kind = iota + 1 // bytes of a file system; the first three are of one
	Inodes                    // files of a file system
	Quota                     // what this user may store
	FileSize                  // the size of one file
	OpenFiles                 // files that this process may have open
	AllFiles                  // files that all processes may have open
	Memory
	Processes
	ReadOnly // the file system cannot be written to
)

// words tell the kinds, the surest first.
var words = []struct {
	kind Kind
	said *regexp.Regexp
}{
	{Quota, regexp.MustCompile(`(?i)disk quota exceeded`)},
	{Space, regexp.MustCompile(`(?i)no space left on device`)}, // or inodes
	{FileSize, regexp.MustCompile(`(?i)file size limit exceeded|file too large`)},
	{AllFiles, regexp.MustCompile(`(?i)too many open files in system`)},
	{OpenFiles, regexp.MustCompile(`(?i)too many open files`)},
	{ReadOnly, regexp.MustCompile(`(?i)read-only file system`)},
	{Processes, regexp.MustCompile(`(?i)(fork|posix_spawn|pthread_create|clone)\b.*resource temporarily unavailable|cannot fork`)},
	{Memory, regexp.MustCompile(`(?i)cannot allocate memory|virtual memory exhausted|out of memory allocating|killed signal terminated program|fatal error: killed|internal compiler error: killed|terminated with signal 9`)},
}

// Shortage is what has run out, and where.
type Shortage struct {
	Kind Kind
	Path string // a file or directory on the file system; "" where none is known
}

// Of finds a shortage in an error and in what its tool printed.
func Of(err error) (Shortage, bool) {
	if err == nil {
		return Shortage{}, false
	}
	text, dir := err.Error(), ""
	var tool *run.Error
	if errors.As(err, &tool) {
		text, dir = text+"\n"+strings.Join(tool.Tail, "\n"), tool.Dir
	}
	for _, w := range words {
		if !w.said.MatchString(text) {
			continue
		}
		s := Shortage{Kind: w.kind, Path: existing(dir)}
		if path := pathIn(err); path != "" {
			s.Path = path
		}
		if s.Kind == Space && noInodes(s.Path) {
			s.Kind = Inodes
		}
		return s, true
	}
	return Shortage{}, false
}

// pathIn returns the path that a system call failed with.
func pathIn(err error) string {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &l):
		return existing(l.New)
	case errors.As(err, &p):
		return existing(p.Path)
	}
	return ""
}

// existing is the part of an absolute path that exists.
func existing(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// Where is the file system, for people.
func (s Shortage) where() string {
	if s.Path == "" {
		return "a file system"
	}
	return "the file system of " + s.Path
}

// String says what has run out.
func (s Shortage) String() string {
	switch s.Kind {
	case Space:
		return s.where() + " is full"
	case Inodes:
		return s.where() + " has no room for more files (inodes)"
	case Quota:
		return "the disk quota of this user on " + s.where() + " is used up"
	case FileSize:
		return "a file would become larger than " + limit("file size", fileSize, " (ulimit -f)", 1024, "KiB")
	case OpenFiles:
		return "more files would be open than " + limit("open files", openFiles, " (ulimit -n)", 1, "")
	case AllFiles:
		return "the system has as many files open as it can"
	case Memory:
		if n, ok := rlimit(addressSpace); ok {
			return fmt.Sprintf("there is too little memory (ulimit -v is %d KiB)", n>>10)
		}
		return "there is too little memory"
	case Processes:
		return "more processes would run than " + limit("processes", processes, " (ulimit -u, or the control group's pids.max)", 1, "")
	case ReadOnly:
		return s.where() + " is read-only"
	}
	return "something has run out"
}

// limit names a limit of this process.
func limit(what string, resource int, name string, unit uint64, unitName string) string {
	n, ok := rlimit(resource)
	if !ok {
		return "the system allows"
	}
	return strings.TrimSpace(fmt.Sprintf("the limit on %s%s allows: %d %s", what, name, n/unit, unitName))
}

// Hint returns what to do about it. cache is the cache directory, which is worth
// pruning where it is on the file system that is full.
func (s Shortage) Hint(cache string) string {
	prune := ""
	if s.Path != "" && SameFileSystem(s.Path, cache) {
		prune = " (" + PruneCommand + " removes old builds and downloads from the cache, which is on it)"
	}
	switch s.Kind {
	case Space:
		return "free some space on " + s.where() + prune + "; df shows what is left"
	case Inodes:
		return "remove files from " + s.where() + prune + "; df -i shows what is left"
	case Quota:
		return "remove files of yours from " + s.where() + prune + ", or have the quota raised"
	case FileSize:
		return "raise the limit (ulimit -f unlimited) and run the command again"
	case OpenFiles:
		return "raise the limit (ulimit -n 1024) and run the command again"
	case AllFiles:
		return "end other programs, or have fs.file-max raised"
	case Memory:
		if _, ok := rlimit(addressSpace); ok {
			return "raise the limit (ulimit -v unlimited), or try --jobs 1"
		}
		return "try --jobs 1: fewer compilers at a time need less memory"
	case Processes:
		return "raise the limit (ulimit -u), end other programs of this user, or try --jobs 1"
	case ReadOnly:
		return "name a directory that can be written to"
	}
	return ""
}

// Early returns a text about a limit so low that this program, or a compiler, ends in
// the middle of its work without a word of its own: the runtime of Go reserves
// addresses generously, and ends when it gets none. "" where there is no such limit.
func Early() string {
	const enough = 2 << 30
	if n, ok := rlimit(addressSpace); ok && n < enough {
		return fmt.Sprintf("this program and compilers may end for want of address space: ulimit -v is %d KiB; raise it (ulimit -v unlimited)", n>>10)
	}
	return ""
}

// PruneCommand frees space in the cache.
const PruneCommand = "modwsgi cache prune --older-than 7d"

// hinted is an error of one who knows a way out that this package does not.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }

// WithHint gives an error a hint that Explain keeps.
func WithHint(err error, hint string) error { return &hinted{err, hint} }

// Explain puts a shortage that is at the bottom of an error first, with its own hint
// and the class [fault.Environment]. Errors of the user, of locks and of signals stay
// as they are. Those of changing an environment keep their class. A hint of theirs
// stays, and so does one where the file system is read-only or not known here: whoever
// wanted to write there knows what else could be named.
func Explain(err error, cache string) error {
	class := fault.ClassOf(err)
	if err == nil || class == fault.Usage || class == fault.Busy || class == fault.Interrupted {
		return err
	}
	s, ok := Of(err)
	if !ok {
		return err
	}
	hint := s.Hint(cache)
	unknown := s.Path == "" && (s.Kind <= Quota || s.Kind == ReadOnly)
	if own := fault.HintOf(err); own != "" && (unknown || class == fault.Place || s.Kind == ReadOnly) {
		hint = own
	}
	var better *hinted
	if errors.As(err, &better) {
		hint = better.hint
	}
	if class != fault.Place {
		class = fault.Environment
	}
	return fault.New(class, hint, "%s: %w", s, err)
}
