package toolchain

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/run"
)

// What a compiler says of its version is not what it is: CC may be a script that
// adds flags, "ccache gcc", a link that leads elsewhere since yesterday, or a
// compiler that the distribution has mended under the same number. So every
// program counts by its content: those that CC names, what their scripts call,
// and the parts that the compiler itself runs (cc1, as, the linker). The content
// and not the path, so that two machines with the same compiler share builds.

// parts are the programs that a compiler runs, and those of the binary utilities
// that builds run.
var parts = []string{"cc1", "collect2", "as", "ld", "ar", "ranlib"}

// Limits of what is followed from script to script.
const (
	maxScript   = 64 << 10
	maxPrograms = 64
)

// identify fills in Programs and Files.
func (h *Toolchain) identify(ctx context.Context, r *run.Runner) {
	s := &sighting{env: h.Env, seen: map[string]bool{}}
	for i, word := range h.CC {
		if i == 0 || !strings.HasPrefix(word, "-") {
			s.named(word)
		}
		if i > 0 {
			s.argument(word)
		}
	}
	for _, name := range parts {
		out, err := r.Output(ctx, run.Cmd{Argv: append(slices.Clone(h.CC), "-print-prog-name="+name), Env: h.Env})
		path := strings.TrimSpace(string(out))
		if err != nil || path == "" || strings.ContainsRune(path, '\n') {
			path = name
		}
		if !filepath.IsAbs(path) {
			path = h.Tool(path)
		}
		s.named(path)
	}
	slices.Sort(s.files)
	h.Programs, h.Files = s.lines, slices.Compact(s.files)
}

// sighting collects programs.
type sighting struct {
	env   []string
	seen  map[string]bool // lines
	lines []string
	files []string
}

// named adds a program by its name or path. Where PATH has several of a name, all
// count: the first may be a wrapper (ccache, distcc) that runs the next one.
func (s *sighting) named(word string) {
	if strings.ContainsRune(word, filepath.Separator) {
		if filepath.IsAbs(word) {
			s.file(word)
		}
		return
	}
	for _, dir := range filepath.SplitList(run.Getenv(s.env, "PATH")) {
		path := filepath.Join(dir, word)
		if executable(path) {
			s.file(path)
		}
	}
}

// argument adds a file that a flag of CC names: "-specs=FILE", "-fplugin=FILE",
// "-B/FILE", "@FILE".
func (s *sighting) argument(word string) {
	_, value, _ := strings.Cut(word, "=")
	for _, path := range []string{value, strings.TrimPrefix(word, "@"), word[min(2, len(word)):]} {
		if filepath.IsAbs(path) {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				s.file(path)
			}
		}
	}
}

// file adds one file, and where it is a script what that calls. One that cannot be
// read counts by its size and time.
func (s *sighting) file(path string) {
	if len(s.files) >= maxPrograms || slices.Contains(s.files, path) {
		return
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	s.files = append(s.files, path)
	sum, err := digest.File(path)
	if err != nil {
		sum = fmt.Sprintf("unreadable %d %d", info.Size(), info.ModTime().Unix())
	}
	if line := filepath.Base(path) + " " + sum; !s.seen[line] {
		s.seen[line] = true
		s.lines = append(s.lines, line)
	}
	if info.Size() <= maxScript {
		if text, err := os.ReadFile(path); err == nil && bytes.HasPrefix(text, []byte("#!")) {
			s.script(string(text))
		}
	}
}

var (
	scriptWord = regexp.MustCompile(`[^\s"'` + "`" + `=;|&(){}<>$]+`)
	// compilerName is what a script may call by name; other words are mostly no
	// programs.
	compilerName = regexp.MustCompile(`^([\w.]+-)*(cc|gcc|clang|tcc|icx|icc|c89|c99|ccache|sccache|distcc|icecc|zig|ld|as|collect2)(-[\d.]+)?$`)
)

// sourced is a file that a script reads as a part of itself.
var sourced = regexp.MustCompile(`(?m)(?:^|[\s;&])(?:\.|source)\s+["']?(/[^\s"';&]+)`)

// script adds the interpreter of a script, the programs that it names by their
// full path, what it reads as a part of itself, and the compilers that it calls by
// name. Other files do not count: a log that it writes would make every build
// another one.
func (s *sighting) script(text string) {
	first, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(strings.TrimPrefix(first, "#!"))
	if len(words) > 1 && filepath.Base(words[0]) == "env" {
		s.named(words[1])
	}
	for _, m := range sourced.FindAllStringSubmatch(text, -1) {
		s.file(m[1])
	}
	for _, word := range append(words[:min(1, len(words))], scriptWord.FindAllString(text, -1)...) {
		word = strings.TrimSuffix(word, ",")
		if compilerName.MatchString(word) || filepath.IsAbs(word) && executable(word) {
			s.named(word)
		}
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
