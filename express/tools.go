package express

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// toolConflicts checks the options for debugging; any of the tools implies debug
// mode, which it sets.
func (p *Program) toolConflicts(s *Server) error {
	tools := []struct {
		on        bool
		option    *Option
		directory *Option // goes with it; nil for none
	}{
		{s.EnableDebugger, optEnableDebugger, nil},
		{s.EnableCoverage, optEnableCoverage, optCoverageDirectory},
		{s.EnableProfiler, optEnableProfiler, optProfilerDirectory},
		{s.EnableRecorder, optEnableRecorder, optRecorderDirectory},
		{s.EnableGDB, optEnableGDB, optGDBExecutable},
	}
	for _, t := range tools {
		if t.on && s.EmbeddedMode {
			return usage("start-server", "", "option %s implies --debug-mode, which --embedded-mode excludes", t.option)
		}
		s.DebugMode = s.DebugMode || t.on
		if !t.on && t.directory != nil && s.Given(t.directory) {
			p.warn(t.directory.Flag() + " has no effect without " + t.option.Flag())
		}
	}
	if s.DebuggerStartup && !s.EnableDebugger {
		return usage("start-server", "", "option --debugger-startup needs --enable-debugger")
	}
	if s.OrphanInterpreter && (s.EnableCoverage || s.EnableProfiler) {
		p.warn("with --orphan-interpreter what atexit functions do is not measured")
	}
	return nil
}

// tools tells where the tools for debugging write to, and finds gdb.
func (p *Program) tools(i *instance) error {
	for _, d := range []struct {
		on     bool
		option *Option
		value  string
		name   string
		to     *string
	}{
		{i.EnableCoverage, optCoverageDirectory, i.CoverageDirectory, "htmlcov", &i.coverageDir},
		{i.EnableProfiler, optProfilerDirectory, i.ProfilerDirectory, "pstats", &i.profilerDir},
		{i.EnableRecorder, optRecorderDirectory, i.RecorderDirectory, "archive", &i.recorderDir},
	} {
		if !d.on {
			continue
		}
		*d.to = orElse(p.abs(d.value), filepath.Join(i.root, d.name))
		if d.value != "" {
			if err := wantDirectory(d.option, filepath.Dir(*d.to)); err != nil {
				return err
			}
		}
	}
	if i.EnableCoverage && !i.has("coverage") {
		p.warn("--enable-coverage: the package coverage is not in this environment; the application will not load without it")
	}
	if err := p.collector(i); err != nil {
		return err
	}
	if !i.EnableGDB {
		return nil
	}
	path, err := run.LookPath(i.GDBExecutable, p.Env)
	if err == nil {
		_, err = os.Stat(p.abs(path))
	}
	if err != nil {
		return fault.New(fault.Usage, "install gdb, or name it with --gdb-executable", "option --enable-gdb: %w", err)
	}
	i.gdb = p.abs(path)
	return nil
}

// has reports whether a Python package lies where the application would find it.
func (i *instance) has(name string) bool {
	for _, d := range i.packageDirs() {
		if _, err := os.Stat(filepath.Join(d, name)); err == nil {
			return true
		}
	}
	return false
}

// hasDistribution reports whether a package of the index is installed there, by
// the directory of its metadata.
func (i *instance) hasDistribution(name string) bool {
	for _, d := range i.packageDirs() {
		entries, _ := os.ReadDir(d)
		for _, e := range entries {
			if stem, ok := strings.CutSuffix(e.Name(), ".dist-info"); ok && strings.HasPrefix(stem, name+"-") {
				return true
			}
		}
	}
	return false
}

// packageDirs are where packages lie; directories that a .pth file adds are not
// looked at.
func (i *instance) packageDirs() []string {
	dirs := []string{i.in.site, i.work}
	for _, d := range i.PythonPath {
		dirs = append(dirs, i.fromLaunch(d))
	}
	if strings.EqualFold(pyvenv(i.in.home)["include-system-site-packages"], "true") || len(pyvenv(i.in.home)) == 0 {
		dirs = append(dirs, filepath.Join(i.in.stdlib, "site-packages"), "/usr/lib/python3/dist-packages")
	}
	return dirs
}

// tools is what the glue reads about the tools for debugging.
func (i *instance) toolSettings() map[string]any {
	t := map[string]any{}
	for name, dir := range map[string]string{"coverage": i.coverageDir, "profiler": i.profilerDir, "recorder": i.recorderDir} {
		if dir != "" {
			t[name] = dir
		}
	}
	if i.EnableDebugger {
		t["debugger"], t["debugger_startup"] = true, i.DebuggerStartup
	}
	return t
}

// telemetryService is the name of the service that --enable-telemetry adds.
const telemetryService = "telemetry"

func telemetryConflicts(s *Server) error {
	bad := func(format string, args ...any) error { return usage("start-server", "", format, args...) }
	if s.EnableTelemetry && s.TelemetryService != "" {
		return bad("--enable-telemetry and --telemetry-service exclude each other")
	}
	if s.TelemetryService != "" && !host.DaemonMode {
		return bad("option --telemetry-service: mod_wsgi has no telemetry on Windows")
	}
	for _, v := range s.ServiceScripts {
		if s.EnableTelemetry && v[0] == telemetryService {
			return bad("option --service-script: %q is the service of --enable-telemetry", v[0])
		}
	}
	target := s.EnableTelemetry || s.TelemetryService != ""
	for _, o := range []*Option{optSlowRequests, optTelemetryInterval, optTelemetryOptions} {
		if s.Given(o) && !target {
			return bad("option %s needs --telemetry-service or --enable-telemetry", o)
		}
	}
	if s.Given(optTelemetryUIPort) && !s.EnableTelemetry {
		return bad("option --telemetry-ui-port needs --enable-telemetry")
	}
	return nil
}

// telemetryFile is the script of that service.
const telemetryFile = "telemetry-service.py"

// telemetryDir is where our own collector makes its socket: a directory of the
// application's account, for the server root is not.
func (i *instance) telemetryDir() string { return filepath.Join(i.root, "telemetry") }

// telemetryTarget is where the processes report to, "" for nowhere.
func (i *instance) telemetryTarget() string {
	if i.EnableTelemetry {
		return "unix:" + filepath.Join(i.telemetryDir(), "collector")
	}
	return i.TelemetryService
}

// telemetry adds what the module reports, and to whom.
func (b *builder) telemetry() {
	i := b.i
	target := i.telemetryTarget()
	if target == "" {
		return
	}
	b.add(conf.D("WSGITelemetryService", word(target), word("interval="+decimal(i.TelemetryInterval))).From(optTelemetryService, optEnableTelemetry, optTelemetryInterval))
	if i.Given(optSlowRequests) {
		b.add(conf.D("WSGISlowRequests", word(decimal(i.SlowRequests))).From(optSlowRequests))
	}
	for _, o := range i.TelemetryOptions {
		d := conf.D("WSGITelemetryOptions").From(optTelemetryOptions)
		for _, w := range strings.Fields(o) {
			d.Args = append(d.Args, word(w))
		}
		b.add(d)
	}
}

// resourceFile is the glue for --add-handler.
const resourceFile = "resource.wsgi"

// extension is how --add-handler's extensions are compared: with a dot, in lower
// case.
func extension(v string) string {
	v = strings.ToLower(v)
	if !strings.HasPrefix(v, ".") {
		v = "." + v
	}
	return v
}

func handlerConflicts(s *Server) error {
	for _, h := range s.AddHandlers {
		if e := extension(h[0]); e == "." || strings.ContainsAny(e, `/"\`) {
			return usage("start-server", "", "option --add-handler: %q is not an extension such as .ext", h[0])
		}
	}
	return nil
}

// resources gives files with an extension of their own to a Python script.
func (b *builder) resources() {
	i := b.i
	if len(i.AddHandlers) == 0 {
		return
	}
	process := i.group
	if !i.daemon() {
		process = "%{GLOBAL}"
	}
	d := conf.D("WSGIHandlerScript", conf.Key("wsgi-resource"), word(filepath.Join(i.root, resourceFile))).From(optAddHandler)
	if b.hasProcessGroups() {
		d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
	}
	d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: "%{GLOBAL}"})
	b.add(d)
	seen := map[string]bool{}
	for _, h := range i.AddHandlers {
		e := extension(h[0])
		if seen[e] {
			continue
		}
		seen[e] = true
		// AddHandler would take files with a further extension too.
		b.add(conf.S("FilesMatch", args(word("(?i)"+regexpText(e)+"$")), conf.D("SetHandler", conf.Key("wsgi-resource"))).From(optAddHandler))
	}
}

// handlerScripts maps extensions to scripts; the last one of several counts.
func (i *instance) handlerScripts() map[string]string {
	m := map[string]string{}
	for _, h := range i.AddHandlers {
		m[extension(h[0])] = i.fromLaunch(h[1])
	}
	return m
}

// docsURL is where the manual is served.
const docsURL = "/__wsgi__/docs"

// manual reports whether the manual is served: on request, and together with the
// welcome page.
func (i *instance) manual() bool {
	return i.EnableDocs || i.entry == "" && i.ApplicationType != "static"
}

func (i *instance) manualDir() string { return filepath.Join(i.root, "docs") }

func (b *builder) docs() {
	if !b.i.manual() {
		return
	}
	b.add(conf.D("Alias", word(docsURL), word(b.i.manualDir())).From(optEnableDocs),
		conf.S("Directory", args(conf.Glob(host.Slashed(b.i.manualDir()))), conf.D("DirectoryIndex", conf.Key("index.html")),
			conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(optEnableDocs))
}
