package installer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// Probing the compiler of this machine takes half a second, and the result seldom
// changes. The result is recorded together with the state of every program and directory
// that it came from. It is used only to check whether something was built before. Before
// anything is built, the host is probed again; if the two results differ, the plan is
// made again.

// hostRecord is the recorded result of a probe.
type hostRecord struct {
	Tools *toolchain.Toolchain `json:"tools"`
	Host  *httpdbuild.Host     `json:"host,omitempty"` // nil if only a module was wanted
	Seen  map[string]string    `json:"seen"`           // path or program -> its state
}

// errHostChanged means that the recorded host is out of date.
var errHostChanged = errors.New("the compiler or the libraries of this machine have changed")

// probeHost tries the compiler, checks what it needs of the Python, unless that is nil,
// with the flags of an httpd that exists, and, if an httpd will be built, what it finds
// for that.
func probeHost(ctx context.Context, at Setting, py *detect.Python, httpd *detect.HTTPD, withHTTPD bool) (*Host, error) {
	q := probe{httpd: httpdFacts(httpd), withHTTPD: withHTTPD, find: func(dir string) (*toolchain.Toolchain, error) {
		tools, err := toolchain.Find(ctx, at.Runner, toolEnv(at), dir)
		if err == nil && tools.Cross != "" {
			return nil, fault.New(fault.Environment, "unset CC, or set it to a compiler for this machine: an install is verified by running it here",
				"CC is %q, which compiles for %s; the result cannot run on this machine", strings.Join(tools.CC, " "), tools.Cross)
		}
		return tools, err
	}}
	if py != nil {
		facts := moduleFacts(py)
		q.python = &facts
	}
	return probeWith(ctx, at, q)
}

// toolEnv is the environment for finding a compiler.
func toolEnv(at Setting) []string {
	env := cachedir.ToolEnv(at.Env)
	if dir := run.Getenv(at.Env, "CCACHE_DIR"); dir != run.Getenv(env, "CCACHE_DIR") {
		at.Events.Note("CCACHE_DIR is " + dir + ", which another user can change: not used")
	}
	return env
}

// hostMemory holds what earlier runs found for an environment.
type hostMemory struct {
	cache string   // the cache directory; "" without one
	env   []string // the caller's environment
	py    *detect.Python
	httpd *detect.HTTPD // nil if it is still to be built
}

// memoryFor is the memory for what a plan builds.
func memoryFor(p *Plan, cache string, env []string) hostMemory {
	return hostMemory{cache: cache, env: env, py: p.Python, httpd: p.HTTPD.Use}
}

// python lists the facts about the Python that a probe depends on.
func (m hostMemory) python() modulebuild.Python {
	if m.py == nil {
		return modulebuild.Python{}
	}
	return moduleFacts(m.py)
}

// buildVariables match the variables of a caller that can change the compiler or what it
// finds. PATH counts by the programs found in it.
var buildVariables = regexp.MustCompile(`^(CC|CXX|CPP|LD|AR|AS|NM|RANLIB|STRIP|LIBS|HOME|USER|TMPDIR|SDKROOT|LANG|LC_\w+|SOURCE_DATE_EPOCH|[A-Z_0-9]*FLAGS|[A-Z_0-9]+_(PATH|PREFIX|DIR|HOSTS)|(CCACHE|DISTCC|SCCACHE|MACOSX|PKG_CONFIG|GCC)_\w+)=`)

// name returns the file name of the record for the caller's environment.
func (m hostMemory) name() string {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, "host record 6", version.String())
	_, _ = fmt.Fprintf(h, "%q\n%q\n", fmt.Sprint(m.python()), fmt.Sprint(httpdFacts(m.httpd)))
	if exe, err := os.Executable(); err == nil {
		_, _ = fmt.Fprintln(h, stateOf(exe))
	}
	env := cachedir.ToolEnv(m.env)
	slices.Sort(env)
	for _, v := range env {
		if buildVariables.MatchString(v) && !strings.HasPrefix(v, "XDG_") && !strings.HasPrefix(v, "MODWSGI_") {
			_, _ = fmt.Fprintf(h, "%q\n", v)
		}
	}
	return hex.EncodeToString(h.Sum(nil)) + ".json"
}

// open opens the directory of the records. With create it is made if missing.
func (m hostMemory) open(create bool) (*owned.Dir, error) {
	store, err := cachedir.Open(m.cache, create)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	if create {
		return store.MakeSub(cachedir.Host, 0o700)
	}
	return store.Sub(cachedir.Host)
}

// maxRecord is the maximum size of a record in bytes.
const maxRecord = 1 << 20

// recall returns the recorded host, and whether it is still valid.
func (m hostMemory) recall(withHTTPD bool) (*Host, bool) {
	if m.cache == "" {
		return nil, false
	}
	records, err := m.open(false)
	if err != nil {
		return nil, false
	}
	defer func() { _ = records.Close() }()
	data, err := records.ReadFile(m.name(), maxRecord)
	if err != nil {
		return nil, false
	}
	var r hostRecord
	if json.Unmarshal(data, &r) != nil || r.Tools == nil || len(r.Seen) == 0 || withHTTPD && r.Host == nil {
		return nil, false
	}
	for what, state := range r.Seen {
		if observe(m.env, what) != state {
			return nil, false
		}
	}
	// The programs are the same, whatever else is in PATH.
	for i, v := range r.Tools.Env {
		if strings.HasPrefix(v, "PATH=") {
			r.Tools.Env[i] = "PATH=" + absolutePath(m.env)
		}
	}
	h := &Host{Tools: r.Tools}
	if withHTTPD {
		h.HTTPD = r.Host
	}
	h.join()
	return h, true
}

// absolutePath returns PATH as tools get it, without relative entries.
func absolutePath(env []string) string {
	dirs := slices.DeleteFunc(filepath.SplitList(run.Getenv(env, "PATH")), func(dir string) bool { return !filepath.IsAbs(dir) })
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// everyOne before the name of a program stands for all programs of that name in PATH: a
// compiler wrapper may run the next one.
const everyOne = "every "

// observe returns the state of a path, or of a program by its name.
func observe(env []string, what string) string {
	if filepath.IsAbs(what) {
		return stateOf(what)
	}
	if name, all := strings.CutPrefix(what, everyOne); all {
		var out []string
		for _, dir := range filepath.SplitList(absolutePath(env)) {
			if s := stateOf(filepath.Join(dir, name)); s != "none" {
				out = append(out, s)
			}
		}
		return strings.Join(out, ", ")
	}
	path, err := run.LookPath(what, []string{"PATH=" + absolutePath(env)})
	if err != nil {
		return "none"
	}
	return path + " " + stateOf(path)
}

// remember records the result of a probe. Not being able to is not a failure. It is not
// called for a plan alone: --dry-run writes nothing.
func (m hostMemory) remember(ctx context.Context, runner *run.Runner, h *Host) {
	if m.cache == "" || h == nil || h.Tools.Native() { // a cache directory may move to another processor
		return
	}
	records, err := m.open(true)
	if err != nil {
		return
	}
	defer func() { _ = records.Close() }()
	r := hostRecord{Tools: h.Tools, Host: h.HTTPD, Seen: map[string]string{}}
	seen := sightings(ctx, runner, h.Tools)
	if len(seen) == 0 {
		return
	}
	for _, what := range append(seen, moduleSightings(m.python(), httpdFacts(m.httpd))...) {
		r.Seen[what] = observe(m.env, what)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	// A host that does not survive the round trip must not be recorded in part.
	var back hostRecord
	if json.Unmarshal(data, &back) != nil || !reflect.DeepEqual(back, r) {
		return
	}
	_ = records.WriteFile(m.name(), data, 0o600)
}

// forget removes an outdated record.
func (m hostMemory) forget() {
	if records, err := m.open(false); err == nil {
		_ = records.Remove(m.name())
		_ = records.Close()
	}
}

// sightings lists the programs, directories and headers that decide the result of a
// probe, or nothing if they cannot be determined.
func sightings(ctx context.Context, runner *run.Runner, tools *toolchain.Toolchain) []string {
	list := []string{"cc", "gcc", "clang", "make", "ld", "as", "ar", "perl", "/etc/os-release", "/usr/lib/os-release", "/etc/ld.so.cache"}
	for _, word := range tools.CC {
		if !strings.HasPrefix(word, "-") {
			list = append(list, word)
			if !strings.ContainsRune(word, filepath.Separator) {
				list = append(list, everyOne+word)
			}
		}
	}
	list = append(append(list, tools.Files...), httpdbuild.Utilities()...)
	ask := func(args ...string) string {
		var said strings.Builder
		out, err := runner.Output(ctx, run.Cmd{Argv: append(slices.Clone(tools.CC), args...), Env: tools.Env, Log: &said, Stdin: io.LimitReader(strings.NewReader(""), 0)})
		if err != nil {
			return ""
		}
		return string(out) + "\n" + said.String()
	}
	includes := searchDirs(ask("-E", "-v", "-x", "c", "-"), "\n", " /")
	libraries := searchDirs(ask("-print-search-dirs"), ":", "/")
	if len(includes) == 0 || len(libraries) == 0 {
		return nil
	}
	list = append(list, libraries...)
	for _, dir := range append(includes, "/usr/include/libxml2", "/usr/local/include/libxml2") {
		list = append(list, dir)
		for _, h := range append(headersOfFeatures(), "stdio.h", "expat.h", "crypt.h") {
			name := filepath.Join(dir, filepath.FromSlash(h))
			list = append(list, filepath.Dir(name), name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func headersOfFeatures() (out []string) {
	for _, f := range httpdbuild.Features() {
		out = append(out, f.Headers...)
	}
	return out
}

// searchDirs extracts directories from a compiler's output: lines or parts of lines that
// begin with a prefix.
func searchDirs(said, separator, prefix string) []string {
	var out []string
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\r\n")
		if separator == ":" {
			_, line, _ = strings.Cut(line, "=")
		}
		for _, part := range strings.Split(line, separator) {
			if strings.HasPrefix(part, prefix) && filepath.IsAbs(strings.TrimSpace(part)) {
				out = append(out, filepath.Clean(strings.TrimSpace(part)))
			}
		}
	}
	return out
}

// hostNow is the host of a job.
type hostNow struct {
	Host
	recalled bool // Host comes from an earlier run
	memory   hostMemory
	at       Setting
	mu       sync.Mutex
}

// remember records the result of this run's probe.
func (h *hostNow) remember(ctx context.Context) {
	if !h.recalled {
		h.memory.remember(ctx, h.at.Runner, &h.Host)
	}
}

// again probes the host if it was only recalled. The error is errHostChanged if the host
// differs.
func (h *hostNow) again(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.recalled {
		return nil
	}
	now, err := probeHost(ctx, h.at, h.memory.py, h.memory.httpd, h.HTTPD != nil)
	if err != nil {
		h.memory.forget()
		return err
	}
	before := h.Host
	h.Host, h.recalled = *now, false
	h.remember(ctx)
	if reflect.DeepEqual(before, h.Host) {
		return nil
	}
	return errHostChanged
}
