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

	"modwsgi/httpdbuild"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
	"modwsgi/internal/version"
)

// What the compiler of this machine is and finds takes half a second to learn
// and seldom changes. It is remembered, with the state of every program and
// directory that it came from, for one use only: to look whether something was
// built before. Before anything is built the host is looked at again, and where
// the two differ the plan is made anew.

// hostRecord is what is remembered.
type hostRecord struct {
	Tools *toolchain.Toolchain `json:"tools"`
	Host  *httpdbuild.Host     `json:"host,omitempty"` // nil where only a module was wanted
	Seen  map[string]string    `json:"seen"`           // path or program -> its state
}

// hostChanged means that what was remembered of the host is not so any more.
var errHostChanged = errors.New("the compiler or the libraries of this machine have changed")

// buildVariables are those variables of a caller that can change what a
// compiler is or finds. PATH counts by the programs found in it.
var buildVariables = regexp.MustCompile(`^(CC|CXX|CPP|LD|AR|AS|NM|RANLIB|STRIP|LIBS|HOME|USER|TMPDIR|SDKROOT|LANG|LC_\w+|SOURCE_DATE_EPOCH|[A-Z_0-9]*FLAGS|[A-Z_0-9]+_(PATH|PREFIX|DIR|HOSTS)|(CCACHE|DISTCC|SCCACHE|MACOSX|PKG_CONFIG|GCC)_\w+)=`)

// recordName is the name of the record for a caller's environment.
func recordName(q *Request) string {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, "host record 2", version.String())
	if exe, err := os.Executable(); err == nil {
		_, _ = fmt.Fprintln(h, stateOf(exe))
	}
	env := cachedir.ToolEnv(q.Env)
	slices.Sort(env)
	for _, v := range env {
		if buildVariables.MatchString(v) && !strings.HasPrefix(v, "XDG_") && !strings.HasPrefix(v, "MODWSGI_") {
			_, _ = fmt.Fprintf(h, "%q\n", v)
		}
	}
	return hex.EncodeToString(h.Sum(nil)) + ".json"
}

// openRecords opens the directory of the records. With create it is made where it
// is missing.
func openRecords(q *Request, create bool) (*owned.Dir, error) {
	store, err := cachedir.Open(q.CacheDir, create)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	if create {
		return store.MakeSub(cachedir.Host, 0o700)
	}
	return store.Sub(cachedir.Host)
}

// mostOfRecord is how many bytes a record may have.
const mostOfRecord = 1 << 20

// recall sets tools and host from what is remembered, and says whether that is
// still so.
func (p *Plan) recallHost() bool {
	q := &p.request
	if q.CacheDir == "" {
		return false
	}
	records, err := openRecords(q, false)
	if err != nil {
		return false
	}
	defer func() { _ = records.Close() }()
	data, err := records.ReadFile(recordName(q), mostOfRecord)
	if err != nil {
		return false
	}
	var r hostRecord
	if json.Unmarshal(data, &r) != nil || r.Tools == nil || len(r.Seen) == 0 || p.HTTPD.Action == BuildHTTPD && r.Host == nil {
		return false
	}
	for what, state := range r.Seen {
		if observe(q, what) != state {
			return false
		}
	}
	// The programs are the same, wherever PATH has them beside others.
	for i, v := range r.Tools.Env {
		if strings.HasPrefix(v, "PATH=") {
			r.Tools.Env[i] = "PATH=" + absolutePath(q.Env)
		}
	}
	p.tools = r.Tools
	if p.HTTPD.Action == BuildHTTPD {
		p.host = r.Host
		p.host.Toolchain = r.Tools
	}
	p.remembered = true
	return true
}

// absolutePath is PATH as tools get it: without what is relative.
func absolutePath(env []string) string {
	dirs := slices.DeleteFunc(filepath.SplitList(run.Getenv(env, "PATH")), func(dir string) bool { return !filepath.IsAbs(dir) })
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// everyOne before the name of a program stands for all of that name in PATH: a
// wrapper of a compiler may run the next one.
const everyOne = "every "

// observe returns the state of a path, or of a program by its name.
func observe(q *Request, what string) string {
	if filepath.IsAbs(what) {
		return stateOf(what)
	}
	if name, all := strings.CutPrefix(what, everyOne); all {
		var out []string
		for _, dir := range filepath.SplitList(absolutePath(q.Env)) {
			if s := stateOf(filepath.Join(dir, name)); s != "none" {
				out = append(out, s)
			}
		}
		return strings.Join(out, ", ")
	}
	path, err := run.LookPath(what, []string{"PATH=" + absolutePath(q.Env)})
	if err != nil {
		return "none"
	}
	return path + " " + stateOf(path)
}

// rememberHost keeps what this run's probe has found. That it cannot is no failure.
// A plan alone does not do this: --dry-run writes nothing.
func (p *Plan) rememberHost(ctx context.Context) {
	q := &p.request
	if !p.probed || q.CacheDir == "" || p.tools == nil || p.tools.Native() { // a cache directory may get to another processor
		return
	}
	p.probed = false
	records, err := openRecords(q, true)
	if err != nil {
		return
	}
	defer func() { _ = records.Close() }()
	r := hostRecord{Tools: p.tools, Host: p.host, Seen: map[string]string{}}
	for _, what := range p.sightings(ctx) {
		r.Seen[what] = observe(q, what)
	}
	data, err := json.Marshal(r)
	if err != nil || len(r.Seen) == 0 {
		return
	}
	// What does not survive the trip must not be remembered in part.
	var back hostRecord
	if json.Unmarshal(data, &back) != nil || !reflect.DeepEqual(back, r) {
		return
	}
	_ = records.WriteFile(recordName(q), data, 0o600)
}

// forgetHost removes a record that is wrong.
func forgetHost(q *Request) {
	if records, err := openRecords(q, false); err == nil {
		_ = records.Remove(recordName(q))
		_ = records.Close()
	}
}

// sightings lists the programs, directories and headers that decide what a
// probe finds; none where that cannot be said.
func (p *Plan) sightings(ctx context.Context) []string {
	q := &p.request
	list := []string{"cc", "gcc", "clang", "make", "ld", "as", "ar", "/etc/os-release", "/usr/lib/os-release", "/etc/ld.so.cache"}
	for _, word := range p.tools.CC {
		if !strings.HasPrefix(word, "-") {
			list = append(list, word)
			if !strings.ContainsRune(word, filepath.Separator) {
				list = append(list, everyOne+word)
			}
		}
	}
	list = append(list, p.tools.Files...)
	ask := func(args ...string) string {
		var said strings.Builder
		out, err := q.Runner.Output(ctx, run.Cmd{Argv: append(slices.Clone(p.tools.CC), args...), Env: p.tools.Env, Log: &said, Stdin: io.LimitReader(strings.NewReader(""), 0)})
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
		for _, h := range append(headersOfFeatures(), "stdio.h", "expat.h") {
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

// searchDirs picks the directories out of what a compiler says of itself: lines
// or parts of lines that begin with a prefix.
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

// lookAgain probes the host where what is known of it was only remembered. The
// error is errHostChanged where it has become another one.
func (p *Plan) lookAgain(ctx context.Context) error {
	p.looking.Lock()
	defer p.looking.Unlock()
	if !p.remembered {
		return nil
	}
	tools, host := p.tools, p.host
	if err := p.probeHost(ctx); err != nil {
		forgetHost(&p.request)
		return err
	}
	p.remembered = false
	p.rememberHost(ctx)
	if reflect.DeepEqual(tools, p.tools) && reflect.DeepEqual(host, p.host) {
		return nil
	}
	return errHostChanged
}
