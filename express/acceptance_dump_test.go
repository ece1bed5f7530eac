//go:build acceptance && unix

package express_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"modwsgi/express"
	"modwsgi/express/config"
	"modwsgi/express/option"
)

// MODWSGI_FUZZ sets how many command lines must be accepted in
// TestHTTPDReadsWhatWasMeant, MODWSGI_TEST_SEED the seed.
const commandLines = 10000

// dump is the state shared by the tests of this file.
type dump struct {
	t        *testing.T
	places   []*place
	tables   [][]*option.Option // the options that a place supports
	base     string
	stem     string
	dirs     []string
	info     string // mod_info
	seed     uint64
	accepted atomic.Int64
	tried    atomic.Int64
	mutex    sync.Mutex
	disk     sync.RWMutex   // held for writing while directories are created
	used     map[string]int // accepted command lines by option
	faults   int
	refusals bool           // httpd may refuse anything: the configuration was damaged
	declined map[string]int // refused command lines, by reason
}

func newDump(t *testing.T) *dump {
	t.Helper()
	p := installed(t)
	s := &dump{t: t, seed: seed(t), info: filepath.Join(p.modules, "mod_info.so"), used: map[string]int{}, declined: map[string]int{}}
	if !isFile(s.info) {
		t.Skip("this httpd has no mod_info")
	}
	s.places = []*place{p}
	if n := newest(t, p); n != nil {
		s.places = append(s.places, n)
	}
	for _, other := range everyInstalled(t) {
		if !slices.ContainsFunc(s.places, func(p *place) bool { return p.version == other.version }) {
			s.places = append(s.places, other)
		}
	}
	s.base = filepath.Join(memoryDir(t), "it's [a] ${HOME} base")
	if err := os.Mkdir(s.base, 0o755); err != nil {
		t.Fatal(err)
	}
	s.stem, _ = certificate(t, workDir(t, ""), "www.example.com")
	s.dirs = hostilePlaces(t, mathrand.New(mathrand.NewPCG(s.seed, 1<<40)), s.base, s.stem, p)
	for _, p := range s.places {
		s.tables = append(s.tables, slices.DeleteFunc(config.Table().Options(), func(o *option.Option) bool { return !p.can(o) }))
	}
	return s
}

// can reports whether a command line for this place may have an option.
func (p *place) can(o *option.Option) bool {
	asRoot := []string{"user", "group", "service-user", "service-group"}
	switch {
	case o.Gone != "" || o.Name == "help", os.Geteuid() != 0 && slices.Contains(asRoot, o.Name), os.Geteuid() == 0 && o.Name == "envvars-script":
		return false
	case o.Name == "http2":
		return isFile(filepath.Join(p.modules, "mod_http2.so"))
	case o.Name == "free-threading":
		return p.version == "6.0.5"
	}
	return p.atLeast(config.Since(o))
}

// candidate is a command line accepted by the launcher.
type candidate struct {
	number int
	m      *meant
	args   []string
	text   string // the launcher's configuration for it
	file   string
	read   []*node
}

// line draws a command line.
func (s *dump) line(n int) (*meant, []string) {
	g := &chance{Rand: mathrand.New(mathrand.NewPCG(s.seed, uint64(n))), number: n, base: s.base, stem: s.stem, dirs: s.dirs}
	which := n / 2 % len(s.places)
	m := &meant{env: s.places[which], dir: s.base, slots: map[string][]want{}}
	var args []string
	if g.IntN(10) > 0 {
		m.app = g.file("app.py")
		args = []string{m.app}
	}
	m.uses = []use{{"server-root", []string{s.base + "/root"}}, {"port", draws["port"](g)}}
	if os.Geteuid() == 0 {
		m.uses = append(m.uses, use{"user", []string{runUser()}})
	}
	if !isFile(m.env.mime) {
		m.uses = append(m.uses, use{"mime-types", []string{"/dev/null"}})
	}
	m.uses = append(m.uses, g.uses(s.tables[which], n)...)
	for _, u := range m.uses {
		o := s.tables[which][slices.IndexFunc(s.tables[which], func(o *option.Option) bool { return o.Name == u.option })]
		args = append(args, g.written(o, u)...)
	}
	return m, args
}

// output receives the output of the launcher.
type output struct{ out, errs *os.File }

func newOutput(t *testing.T) *output {
	t.Helper()
	dir := memoryDir(t)
	var files [2]*os.File
	for k := range files {
		f, err := os.Create(filepath.Join(dir, itoa(k)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files[k] = f
	}
	return &output{files[0], files[1]}
}

// run has the launcher of this tree execute a command, in this process.
func (o *output) run(t *testing.T, m *meant, args ...string) (code int, out, errs string) {
	t.Helper()
	code = express.Run(t.Context(), &express.Console{Stdin: o.out, Stdout: o.out, Stderr: o.errs}, &express.Invocation{
		Args: args, Env: m.env.environ(), Executable: m.env.launcher, Name: m.env.launcher, Dir: m.dir, Version: "test", Machine: &dumpMachine,
	})
	taken := func(f *os.File) string {
		size, _ := f.Seek(0, io.SeekCurrent)
		data := make([]byte, size)
		_, err1 := f.ReadAt(data, 0)
		err2 := f.Truncate(0)
		_, err3 := f.Seek(0, io.SeekStart)
		if err1 != nil && size > 0 || err2 != nil || err3 != nil {
			t.Error(err1, err2, err3)
		}
		return string(data)
	}
	return code, taken(o.out), taken(o.errs)
}

// atConf is where httpd reports an error.
var atConf = regexp.MustCompile(`on line \d+ of ([^\n:]*/\d+\.conf):\s*(.*)`)

// read has one httpd read several configurations, each in a separate file. If httpd
// refuses one, it is removed and the rest is read again.
func (s *dump) read(batch []*candidate, dir string) (good []*candidate) {
	for len(batch) > 0 {
		out, said, err := s.readAll(batch, dir)
		if err == nil {
			share(batch, readDump(out))
			return append(good, batch...)
		}
		bad := -1
		at := atConf.FindStringSubmatch(said)
		if at != nil {
			bad = slices.IndexFunc(batch, func(c *candidate) bool { return c.file == at[1] })
		}
		switch half := len(batch) / 2; {
		case bad >= 0:
			s.decline(batch[bad], at[2])
			batch = slices.Delete(batch, bad, bad+1)
		case half == 0:
			s.decline(batch[0], fmt.Sprint(err, ": ", said))
			return good
		default: // httpd does not report which one
			good, batch = append(good, s.read(batch[:half], dir)...), batch[half:]
		}
	}
	return good
}

func (s *dump) readAll(batch []*candidate, dir string) (out, said string, err error) {
	all := fmt.Sprintf("LoadModule info_module \"%s\"\n", s.info)
	for k, c := range batch {
		c.file = fmt.Sprintf("%s/%d.conf", dir, k)
		if err := os.WriteFile(c.file, []byte(c.text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		all += "Include " + c.file + "\n"
	}
	if err := os.WriteFile(dir+"/all.conf", []byte(all), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), batch[0].m.env.httpd, "-t", "-e", "error", "-DDUMP_CONFIG", "-f", dir+"/all.conf")
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = batch[0].m.env.environ(), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// share gives each candidate what httpd has read of its file and of the files that it
// includes; one directly follows the other.
func share(batch []*candidate, all []*node) {
	for k, c := range batch {
		end := len(all)
		if k+1 < len(batch) {
			end = slices.IndexFunc(all, func(n *node) bool { return n.file == batch[k+1].file })
		}
		c.read, all = all[:end], all[end:]
	}
}

// complaints returns the differences between what httpd has read and the meaning of the
// command line.
func (c *candidate) complaints() []string {
	vars := maps.Clone(c.m.env.vars)
	vars["MOD_WSGI_DOLLAR"] = "$"
	tree, err := assemble(c.file, c.text, c.read, vars)
	if err != nil {
		return []string{err.Error()}
	}
	return compare("httpd.conf", c.m.assembled(), tree)
}

// chunk processes some command lines: those that the launcher accepts are read by
// httpd, many at once, and compared.
func (s *dump) chunk(first, count int, dir string, o *output) {
	batches, telemetry := map[string][]*candidate{}, 0
	for n := first; n < first+count; n++ {
		m, args := s.line(n)
		s.tried.Add(1)
		code, out, errs := s.show(m, args, o)
		if code != 0 {
			if code > 2 || out != "" || !strings.Contains(errs, "mod_wsgi-express: error: ") {
				s.fault(n, args, fmt.Sprintf("refused with code %d and %q, %q", code, out, errs))
			}
			s.refusal(errs)
			continue
		}
		if why := m.refused(); why != "" {
			s.fault(n, args, "accepted, with "+why)
			continue
		}
		s.makeDirectories(m)
		c := &candidate{number: n, m: m, args: args, text: out}
		kind := m.env.version + " " + m.mpm()
		if m.given("enable-telemetry") {
			// Its service always has the same name, which httpd accepts only once.
			kind += " " + itoa(telemetry)
			telemetry++
		}
		batches[kind] = append(batches[kind], c)
	}
	for _, batch := range batches {
		for _, c := range s.read(batch, dir) {
			for _, complaint := range c.complaints() {
				s.fault(c.number, c.args, complaint)
			}
			s.count(c)
		}
	}
}

// show has the launcher show the configuration of a command line, and records what the
// launcher sees on disk meanwhile.
func (s *dump) show(m *meant, args []string, o *output) (code int, out, errs string) {
	s.disk.RLock()
	defer s.disk.RUnlock()
	m.look()
	return o.run(s.t, m, append([]string{"show-config"}, args...)...)
}

// makeDirectories creates the directories that setup-server creates and that httpd
// looks for while reading.
func (s *dump) makeDirectories(m *meant) {
	s.disk.Lock()
	defer s.disk.Unlock()
	for _, dir := range []string{m.root(), m.docs(), m.path("log-directory", m.root())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.t.Error(err)
		}
	}
}

func holdsUnwritable(u use) bool {
	return slices.ContainsFunc(u.values, func(v string) bool {
		return strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
	})
}

func (s *dump) count(c *candidate) {
	s.accepted.Add(1)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, u := range c.m.uses {
		s.used[u.option]++
	}
}

func (s *dump) refusal(errs string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	_, why, _ := strings.Cut(errs, "error: ")
	why = regexp.MustCompile(`"[^\n]*"|/[^\n]*`).ReplaceAllString(why, "…")
	why, _, _ = strings.Cut(why, "\n")
	s.declined["launcher: "+why]++
}

// mayDecline are httpd's messages about values that only httpd can judge; setup-server
// refuses these with httpd's message.
var mayDecline = regexp.MustCompile(`^(Cannot parse expression in ErrorDocument|main ErrorLogFormat must contain)`)

// decline counts a command line refused by httpd itself.
func (s *dump) decline(c *candidate, said string) {
	if !mayDecline.MatchString(said) && !s.refusals {
		s.fault(c.number, c.args, "httpd refuses it: "+said)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.declined["httpd: "+said[:min(70, len(said))]]++
}

func (s *dump) fault(n int, args []string, why string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.faults++; s.faults <= 12 {
		s.t.Errorf("command line %d: %s\n%.3000q", n, why, args)
	}
}

func counts(m map[string]int) (s string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("\n%5d %s", m[k], k)
	}
	return s
}

// TestEveryOptionHasARow: an option without a row in the oracle would never be
// compared.
//
// Once: the table is the same.
func TestEveryOptionHasARow(t *testing.T) {
	rows := map[string]int{}
	for _, r := range oracle {
		rows[r.option]++
	}
	for _, o := range config.Table().Options() {
		if n := rows[o.Name]; o.Gone == "" && n != 1 {
			t.Errorf("--%s has %d rows in oracle (acceptance_dump_oracle_test.go): define there what httpd must read for it", o.Name, n)
		}
		if draws[o.Name] == nil && o.Gone == "" && o.Kind != option.KindFlag && o.Kind != option.KindNumber {
			t.Errorf("--%s has no row in draws (acceptance_dump_values_test.go): define there which values it can have", o.Name)
		}
		delete(rows, o.Name)
	}
	for name := range rows {
		t.Errorf("oracle has a row for --%s, which is not an option", name)
	}
}

// TestHTTPDReadsWhatWasMeantByEveryOption: for random command lines, over all options
// and with hostile values, httpd has read exactly the directives that are meant, name
// by name and value by value, and nothing else.
//
// Once: it uses all environments itself.
func TestHTTPDReadsWhatWasMeantByEveryOption(t *testing.T) {
	s := newDump(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // the table of options is rebuilt for each command line
	defer express.RememberPythons()()
	wanted := int64(envNumber("MODWSGI_FUZZ", commandLines))
	const size = 400
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		dir, o := memoryDir(t), newOutput(t)
		all.Go(func() {
			for s.accepted.Load() < wanted && s.tried.Load() < 3*wanted && s.faults < 100 && t.Context().Err() == nil {
				s.chunk(int(next.Add(size)-size), size, dir, o)
			}
		})
	}
	all.Wait()
	t.Logf("%d command lines, %d accepted and read; not accepted: %s", s.tried.Load(), s.accepted.Load(), counts(s.declined))
	if s.accepted.Load() < wanted {
		t.Errorf("only %d command lines of %d were accepted", s.accepted.Load(), s.tried.Load())
	}
	for _, p := range s.places {
		t.Logf("mod_wsgi %s, %s", p.version, p.module)
	}
	for _, table := range s.tables {
		for _, o := range table {
			if s.accepted.Load() >= 1000 && s.used[o.Name] == 0 && !slices.Contains(notDrawn, o.Name) {
				t.Errorf("--%s was not in any accepted command line", o.Name)
			}
		}
	}
	if s.faults > 12 {
		t.Errorf("%d faults", s.faults)
	}
}
