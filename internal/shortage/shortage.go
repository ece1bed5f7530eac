// Package shortage recognizes errors that mean that the system, a limit of the user or a
// file system has run out of something (space, inodes, quota, size of a file, open files,
// memory, processes), or that a file system is read-only. Such errors occur anywhere, in
// system calls and in the output of compilers. The code that meets one reports the work
// that failed ("the compiler cannot build a program"), which is true and misleading. This
// package knows the reason and what to do, and nothing about the work.
//
// It goes by the words of the error and of the last lines of the tool that failed: a tool
// passes nothing else on. They are those of strerror(3) in the C locale, in which all
// tools run, and of Go, which uses the same words.
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
	Space     Kind = iota + 1 // bytes of a file system; the first three concern a file system
	Inodes                    // files of a file system
	Quota                     // what this user may store
	FileSize                  // the size of one file
	OpenFiles                 // files that this process may have open
	AllFiles                  // files that all processes may have open
	Memory
	Processes
	ReadOnly // the file system is read-only
)

// words identify the kinds, the most specific first.
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
	Path string // a file or directory on the file system; "" if unknown
}

// Of finds a shortage in an error and in the output of its tool.
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

// existing returns the part of an absolute path that exists.
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

// where names the file system in messages.
func (s Shortage) where() string {
	if s.Path == "" {
		return "a file system"
	}
	return "the file system of " + s.Path
}

// String describes what has run out.
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
			return fmt.Sprintf("too little memory (ulimit -v is %d KiB)", n>>10)
		}
		return "too little memory"
	case Processes:
		return "more processes would run than " + limit("processes", processes, " (ulimit -u, or the control group's pids.max)", 1, "")
	case ReadOnly:
		return s.where() + " is read-only"
	}
	return "something has run out"
}

// limit describes a limit of this process.
func limit(what string, resource int, name string, unit uint64, unitName string) string {
	n, ok := rlimit(resource)
	if !ok {
		return "the system allows"
	}
	return strings.TrimSpace(fmt.Sprintf("the limit on %s%s allows: %d %s", what, name, n/unit, unitName))
}

// Hint returns what to do about it. cache is the cache directory, which is worth pruning
// if it is on the full file system.
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
		return "remove files of this user from " + s.where() + prune + ", or have the quota raised"
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
		return "try --jobs 1: fewer parallel compilers need less memory"
	case Processes:
		return "raise the limit (ulimit -u), end other programs of this user, or try --jobs 1"
	case ReadOnly:
		return "name a writable directory"
	}
	return ""
}

// Early returns a warning about a limit so low that this program, or a compiler, ends in
// the middle of its work without a message: the runtime of Go reserves addresses
// generously, and ends when it gets none. It returns "" without such a limit.
func Early() string {
	const enough = 2 << 30
	if n, ok := rlimit(addressSpace); ok && n < enough {
		return fmt.Sprintf("this program and compilers may fail for lack of address space: ulimit -v is %d KiB; raise it (ulimit -v unlimited)", n>>10)
	}
	return ""
}

// PruneCommand frees space in the cache.
const PruneCommand = "modwsgi cache prune --older-than 7d"

// hinted is an error from code that knows a solution that this package does not.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }

// WithHint gives an error a hint that Explain keeps.
func WithHint(err error, hint string) error { return &hinted{err, hint} }

// Explain puts a shortage at the root of an error first, with its hint and the class
// [fault.Environment]. Usage errors, locks and signals stay as they are. Errors of
// changing an environment keep their class. Their hints stay, and so do hints if the file
// system is read-only or unknown: the code that wanted to write there knows what else
// could be named.
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
