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

// A compiler's version does not identify it: CC may be a script that adds flags, "ccache
// gcc", a link that was changed yesterday, or a compiler that the distribution patched
// without a new version number. So the contents of all programs count: those that CC
// names, those that their scripts call, and the parts that the compiler runs (cc1, as,
// the linker). Paths do not count, so that two machines with the same compiler share
// builds.

// parts are the programs that a compiler runs, and the binary utilities that builds run.
var parts = []string{"cc1", "collect2", "as", "ld", "ar", "ranlib"}

// Limits for following scripts.
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

// named adds a program by its name or path. If PATH has several programs of that name,
// all count, because the first may be a wrapper (ccache, distcc) that runs the next one.
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

// argument adds a file named by a flag in CC: "-specs=FILE", "-fplugin=FILE",
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

// file adds a file and, if it is a script, the programs that it calls. An unreadable file
// counts by its size and time.
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
	// compilerName matches the programs that a script may call by name; most other words
	// are not programs.
	compilerName = regexp.MustCompile(`^([\w.]+-)*(cc|gcc|clang|tcc|icx|icc|c89|c99|ccache|sccache|distcc|icecc|zig|ld|as|collect2)(-[\d.]+)?$`)
)

// sourced matches a file that a script sources.
var sourced = regexp.MustCompile(`(?m)(?:^|[\s;&])(?:\.|source)\s+["']?(/[^\s"';&]+)`)

// script adds the interpreter of a script, the programs that it calls by full path, the
// files that it sources, and the compilers that it calls by name. Other files do not
// count: a log that the script writes would change the identity of every build.
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
