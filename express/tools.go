package express

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// toolConflicts checks the options for debugging; any of the tools implies debug
// mode, which it sets.
func (p *Program) toolConflicts(s *Server) error {
	tools := []struct {
		on        bool
		option    option.Ref
		directory option.Ref // goes with it; nil for none
	}{
		{config.EnableDebugger.In(s), config.EnableDebugger, nil},
		{config.EnableCoverage.In(s), config.EnableCoverage, config.CoverageDirectory},
		{config.EnableProfiler.In(s), config.EnableProfiler, config.ProfilerDirectory},
		{config.EnableRecorder.In(s), config.EnableRecorder, config.RecorderDirectory},
		{config.EnableGDB.In(s), config.EnableGDB, config.GDBExecutable},
	}
	for _, t := range tools {
		if t.on && config.EmbeddedMode.In(s) {
			return usage("start-server", "", "option %s implies --debug-mode, which --embedded-mode excludes", t.option)
		}
		config.DebugMode.Set(s, config.DebugMode.In(s) || t.on)
		if !t.on && t.directory != nil && s.Given(t.directory) {
			p.warn(t.directory.Flag() + " has no effect without " + t.option.Flag())
		}
	}
	if config.DebuggerStartup.In(s) && !config.EnableDebugger.In(s) {
		return usage("start-server", "", "option --debugger-startup needs --enable-debugger")
	}
	if config.OrphanInterpreter.In(s) && (config.EnableCoverage.In(s) || config.EnableProfiler.In(s)) {
		p.warn("with --orphan-interpreter what atexit functions do is not measured")
	}
	return nil
}

// tools tells where the tools for debugging write to, and finds gdb.
func (p *Program) tools(i *instance) error {
	for _, d := range []struct {
		on     bool
		option option.Ref
		value  string
		name   string
		to     *string
	}{
		{config.EnableCoverage.In(i), config.CoverageDirectory, config.CoverageDirectory.In(i), "htmlcov", &i.coverageDir},
		{config.EnableProfiler.In(i), config.ProfilerDirectory, config.ProfilerDirectory.In(i), "pstats", &i.profilerDir},
		{config.EnableRecorder.In(i), config.RecorderDirectory, config.RecorderDirectory.In(i), "archive", &i.recorderDir},
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
	if config.EnableCoverage.In(i) && !i.has("coverage") {
		p.warn("--enable-coverage: the package coverage is not in this environment; the application will not load without it")
	}
	if err := p.collector(i); err != nil {
		return err
	}
	if !config.EnableGDB.In(i) {
		return nil
	}
	path, err := run.LookPath(config.GDBExecutable.In(i), p.Env)
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
	dirs := []string{i.in.Packages, i.work}
	for _, d := range config.PythonPath.In(i) {
		dirs = append(dirs, i.fromLaunch(d))
	}
	if strings.EqualFold(site.Settings(i.in.Home)["include-system-site-packages"], "true") || len(site.Settings(i.in.Home)) == 0 {
		dirs = append(dirs, filepath.Join(i.in.Stdlib, "site-packages"), "/usr/lib/python3/dist-packages")
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
	if config.EnableDebugger.In(i) {
		t["debugger"], t["debugger_startup"] = true, config.DebuggerStartup.In(i)
	}
	return t
}

// telemetryService is the name of the service that --enable-telemetry adds.
const telemetryService = "telemetry"

func telemetryConflicts(s *Server) error {
	bad := func(format string, args ...any) error { return usage("start-server", "", format, args...) }
	if config.EnableTelemetry.In(s) && config.TelemetryService.In(s) != "" {
		return bad("--enable-telemetry and --telemetry-service exclude each other")
	}
	if config.TelemetryService.In(s) != "" && !host.DaemonMode {
		return bad("option --telemetry-service: mod_wsgi has no telemetry on Windows")
	}
	for _, v := range config.ServiceScript.In(s) {
		if config.EnableTelemetry.In(s) && v[0] == telemetryService {
			return bad("option --service-script: %q is the service of --enable-telemetry", v[0])
		}
	}
	target := config.EnableTelemetry.In(s) || config.TelemetryService.In(s) != ""
	for _, o := range []option.Ref{config.SlowRequests, config.TelemetryInterval, config.TelemetryOptions} {
		if s.Given(o) && !target {
			return bad("option %s needs --telemetry-service or --enable-telemetry", o)
		}
	}
	if s.Given(config.TelemetryUIPort) && !config.EnableTelemetry.In(s) {
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
	if config.EnableTelemetry.In(i) {
		return "unix:" + filepath.Join(i.telemetryDir(), "collector")
	}
	return config.TelemetryService.In(i)
}

// telemetry adds what the module reports, and to whom.
func (b *builder) telemetry() {
	i := b.i
	target := i.telemetryTarget()
	if target == "" {
		return
	}
	b.add(conf.D("WSGITelemetryService", word(target), word("interval="+decimal(config.TelemetryInterval.In(i)))).From(config.TelemetryService, config.EnableTelemetry, config.TelemetryInterval))
	if i.Given(config.SlowRequests) {
		b.add(conf.D("WSGISlowRequests", word(decimal(config.SlowRequests.In(i)))).From(config.SlowRequests))
	}
	for _, o := range config.TelemetryOptions.In(i) {
		d := conf.D("WSGITelemetryOptions").From(config.TelemetryOptions)
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
	for _, h := range config.AddHandler.In(s) {
		if e := extension(h[0]); e == "." || strings.ContainsAny(e, `/"\`) {
			return usage("start-server", "", "option --add-handler: %q is not an extension such as .ext", h[0])
		}
	}
	return nil
}

// resources gives files with an extension of their own to a Python script.
func (b *builder) resources() {
	i := b.i
	if len(config.AddHandler.In(i)) == 0 {
		return
	}
	process := i.group
	if !i.daemon() {
		process = "%{GLOBAL}"
	}
	d := conf.D("WSGIHandlerScript", conf.Key("wsgi-resource"), word(filepath.Join(i.root, resourceFile))).From(config.AddHandler)
	if b.hasProcessGroups() {
		d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
	}
	d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: "%{GLOBAL}"})
	b.add(d)
	seen := map[string]bool{}
	for _, h := range config.AddHandler.In(i) {
		e := extension(h[0])
		if seen[e] {
			continue
		}
		seen[e] = true
		// AddHandler would take files with a further extension too.
		b.add(conf.S("FilesMatch", args(word("(?i)"+regexpText(e)+"$")), conf.D("SetHandler", conf.Key("wsgi-resource"))).From(config.AddHandler))
	}
}

// handlerScripts maps extensions to scripts; the last one of several counts.
func (i *instance) handlerScripts() map[string]string {
	m := map[string]string{}
	for _, h := range config.AddHandler.In(i) {
		m[extension(h[0])] = i.fromLaunch(h[1])
	}
	return m
}

// docsURL is where the manual is served.
const docsURL = "/__wsgi__/docs"

// manual reports whether the manual is served: on request, and together with the
// welcome page.
func (i *instance) manual() bool {
	return config.EnableDocs.In(i) || i.entry == "" && config.ApplicationType.In(i) != "static"
}

func (i *instance) manualDir() string { return filepath.Join(i.root, "docs") }

func (b *builder) docs() {
	if !b.i.manual() {
		return
	}
	b.add(conf.D("Alias", word(docsURL), word(b.i.manualDir())).From(config.EnableDocs),
		conf.S("Directory", args(conf.Glob(host.Slashed(b.i.manualDir()))), conf.D("DirectoryIndex", conf.Key("index.html")),
			conf.D("Require", conf.Key("all"), conf.Key("granted"))).From(config.EnableDocs))
}
