// Package farm has objects compiled on other machines, by distcc or icecream. It finds
// the client in a caller's environment, checks what the farm's machines answer, and
// falls back to this machine. It does not schedule compilations, and it does not decide
// what is compiled.
package farm

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/run"
)

// A farm must not decide what is built. So the environment is divided at the beginning:
// everything that asks the compiler, configures, links, or identifies a build gets one
// without the farm, in which CC is the local compiler. Its results, and the key of a
// build, are those of a build without a farm. Only the compilation of an object gets the
// client back, with its variables, and every object that it returns is checked against
// what the local compiler writes (session.go).

// The kinds of farms, as users know them.
const (
	Distcc   = "distcc"
	Icecream = "icecream"
)

// kinds maps clients to kinds.
var kinds = map[string]string{"distcc": Distcc, "icecc": Icecream}

// Farm is a compile farm that an environment names.
type Farm struct {
	Kind   string   // Distcc or Icecream
	Client string   // path of its client
	Env    []string // variables of the client
	Ccache bool     // ccache runs the client, for what it does not have
}

// Split divides an environment: rest is for everything that runs on this machine, and f
// is the farm, or nil. A farm is named by a word of CC before the compiler, by
// CCACHE_PREFIX if ccache is used, or by a directory in PATH where the compiler is a link
// to the client. A client that was not found stays in CC, which the search for a compiler
// will report.
func Split(env []string) (rest []string, f *Farm) {
	s := &splitter{env: env}
	words := s.command(strings.Fields(run.Getenv(env, "CC")))
	dirs := s.masquerade(words)
	if s.ccache && s.client == "" {
		for _, word := range strings.Fields(run.Getenv(env, "CCACHE_PREFIX")) {
			s.clientAt(word)
		}
	}
	if s.client == "" {
		return env, nil
	}
	f = &Farm{Kind: s.kind, Client: s.client, Ccache: s.ccache}
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "DISTCC_"), strings.HasPrefix(name, "ICECC_"), strings.HasPrefix(name, "INCLUDE_SERVER_"):
			f.Env = append(f.Env, v)
		case name == "CCACHE_PREFIX":
		case name == "CC" && len(words) > 0:
			rest = append(rest, "CC="+strings.Join(words, " "))
		case name == "PATH":
			rest = append(rest, "PATH="+strings.Join(dirs, string(filepath.ListSeparator)))
		default:
			rest = append(rest, v)
		}
	}
	return rest, f
}

// splitter collects what an environment tells about a farm.
type splitter struct {
	env          []string
	kind, client string
	ccache       bool
}

// clientAt reports whether a program is the client of a farm, directly or through a link,
// and remembers the first one.
func (s *splitter) clientAt(word string) bool {
	path, err := run.LookPath(word, s.env)
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || kinds[filepath.Base(real)] == "" {
		return false
	}
	if s.client == "" {
		s.client, s.kind = real, kinds[filepath.Base(real)]
	}
	return true
}

// isCcache reports whether a program is ccache, directly or through a link.
func isCcache(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	return err == nil && filepath.Base(real) == "ccache"
}

// command removes clients from the words of CC. Without a compiler after them, both
// clients use cc.
func (s *splitter) command(words []string) []string {
	var kept []string
	for len(words) > 0 {
		path, err := run.LookPath(words[0], s.env)
		named := kinds[filepath.Base(words[0])] != "" // otherwise a link with a compiler's name
		switch {
		case err == nil && isCcache(path) && filepath.Base(words[0]) == "ccache":
			s.ccache, kept = true, append(kept, words[0])
		case named && s.clientAt(words[0]):
		case filepath.IsAbs(words[0]) && s.clientAt(words[0]):
			return append(append(kept, filepath.Base(words[0])), words[1:]...)
		default:
			if s.client != "" && strings.HasPrefix(words[0], "-") {
				kept = append(kept, "cc")
			}
			return append(kept, words...)
		}
		words = words[1:]
	}
	if s.client != "" {
		kept = append(kept, "cc")
	}
	return kept
}

// masquerade returns the directories of PATH except those where the compiler is a link to
// a client. A link in front of the real compiler names a farm.
func (s *splitter) masquerade(words []string) (dirs []string) {
	names := []string{"cc", "gcc", "clang"}
	for _, word := range words {
		if filepath.Base(word) != "ccache" {
			names = []string{word}
			break
		}
	}
	all := filepath.SplitList(run.Getenv(s.env, "PATH"))
	fake := map[string]bool{}
	for _, name := range names {
		if strings.ContainsRune(name, filepath.Separator) {
			s.ccache = s.ccache || isCcache(name)
			continue
		}
		found := false
		for _, dir := range all {
			path := filepath.Join(dir, name)
			if !filepath.IsAbs(dir) {
				continue
			}
			if _, err := run.LookPath(name, []string{"PATH=" + dir}); err != nil {
				continue
			}
			real, _ := filepath.EvalSymlinks(path)
			switch {
			case kinds[filepath.Base(real)] != "":
				fake[dir] = true
				if !found {
					s.clientAt(path)
				}
			case isCcache(path):
				s.ccache = s.ccache || !found
			default:
				found = true
			}
		}
		if found || s.client != "" {
			break
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(dir string) bool { return fake[dir] })
}

// perLocalJob is how many compilations this machine can feed to icecream for each one that
// it could run itself: preprocessing an object of httpd and sending it takes a fifth of the
// processor time of compiling it (docs/guides/farm.md).
const perLocalJob = 4

// perClient is the estimated memory for one client and its preprocessor, in bytes.
const perClient = 100 << 20

// Slots returns how many compilations to run concurrently on a machine that could run
// local ones itself, with memory in bytes, 0 if unknown. The number is the one that distcc
// gives for its hosts; icecream has no such command.
func (f *Farm) Slots(ctx context.Context, r *run.Runner, env []string, local int, memory int64) int {
	n := perLocalJob * local
	if f.Kind == Distcc {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		out, err := r.Output(ctx, run.Cmd{Argv: []string{f.Client, "-j"}, Env: f.environment(env)})
		if err != nil {
			return local
		}
		if n, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil || n < 1 {
			return local
		}
	}
	if memory > 0 {
		n = min(n, max(local, int(memory/perClient)))
	}
	return min(max(n, local), maxSlots)
}

// maxSlots is the greatest default number of concurrent compilations.
const maxSlots = 500

// environment is env with the client's variables.
func (f *Farm) environment(env []string) []string { return append(slices.Clone(env), f.Env...) }

// command returns the command and environment that has argv run on the farm. The client's
// own fallback is off, because Session has another one, which is limited.
func (f *Farm) command(argv, env []string) ([]string, []string) {
	env = append(f.environment(env), "DISTCC_FALLBACK=0", "DISTCC_SKIP_LOCAL_RETRY=1")
	if f.Ccache {
		return argv, append(env, "CCACHE_PREFIX="+f.Client)
	}
	return append([]string{f.Client}, argv...), env
}
