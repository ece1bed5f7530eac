package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

var (
	ApplicationType = option.Text("application-type", "script", "TYPE", "How the entry point is loaded: script (a file), module (an importable name), paste (a Paste Deploy file) or static (files only).").
			Among(false, "script", "module", "paste", "static")
	EntryPoint     = option.Text("entry-point", "", "ENTRY", "The application to serve; overrides the first argument.")
	CallableObject = option.Text("callable-object", "application", "NAME", "Name of the WSGI callable in the script or module, or a call that returns it: create_app().")
	MountPoint     = option.Text("mount-point", "/", "URL-PATH", "URL path at which the application is mounted.").
			Check(urlPath)
	ApplicationGroup = option.Text("application-group", "%{GLOBAL}", "NAME", "Interpreter that runs the application; by default the main one.").
				MayBeEmpty()
	ProcessGroup = option.Text("process-group", "", "NAME", "Name of the daemon process group.").
			DefaultText("HOST:PORT").Check(processGroup)
	MapHEADToGET = option.Text("map-head-to-get", "Auto", "WHEN", "Whether to pass HEAD requests to the application as GET: Auto, On or Off.").
			Among(true, "Auto", "On", "Off")
	WorkingDirectory = option.Text("working-directory", "", "DIRECTORY", "Working directory of the application, and the first entry of its module path.").
				DefaultText("current directory")
	ReloadOnChanges = option.Toggle("reload-on-changes", "Restart the application when the file of a loaded module changes.").
			With(unixOnly)
	DisableReloading = option.Toggle("disable-reloading", "Do not reload the application even when its entry point changes.").
				With(unixOnly)
	ChunkedRequest    = option.Toggle("chunked-request", "Accept request bodies of unknown length (chunked).")
	OrphanInterpreter = option.Toggle("orphan-interpreter", "End processes without shutting down Python; atexit functions do not run.").
				With(since("4.9.1"))
)

// application is the application to serve.
var application = feature{
	options: option.NewGroup("Application",
		ApplicationType, EntryPoint, CallableObject, MountPoint, ApplicationGroup, ProcessGroup, MapHEADToGET, WorkingDirectory,
		ReloadOnChanges, DisableReloading, ChunkedRequest, OrphanInterpreter,
	),
	useless: func(s *Server) []useless {
		kind := ApplicationType.In(s)
		return []useless{
			{kind == "paste" || kind == "static", "with --application-type " + kind, by(CallableObject)},
			{!s.Daemon(), "in " + s.mode() + " mode", by(ProcessGroup)},
		}
	},
	warnings: func(s *Server) (list []string) {
		if ReloadOnChanges.In(s) && (EmbeddedMode.In(s) || DebugMode.In(s) || DisableReloading.In(s)) {
			list = append(list, "--reload-on-changes has no effect in embedded mode, in debug mode or with --disable-reloading")
		}
		if EntryPoint.In(s) != "" && len(s.Positional) > 0 && s.Positional[0] != EntryPoint.In(s) {
			list = append(list, fmt.Sprintf("--entry-point overrides the argument %q", s.Positional[0]))
		}
		return list
	},
	reads: func(i *Instance) []Need {
		if i.Entry == "" || ApplicationType.In(i) == "module" {
			return nil
		}
		return []Need{{i.Entry, "the application", true}}
	},
	private: (*Instance).code,
	carries: func(i *Instance) []carriedValue {
		return []carriedValue{
			{i.Work, "the working directory", WorkingDirectory},
			{CallableObject.In(i), "the name of the callable", CallableObject},
			{i.Mount, "the mount point", MountPoint},
			{i.Group, "the process group", ProcessGroup},
			{i.Entry, "the path of the application", EntryPoint},
		}
	},
	defines: func(i *Instance) []define {
		return []define{
			{ApplicationType.In(i) == "static", "MOD_WSGI_STATIC_ONLY"},
			{DisableReloading.In(i), "MOD_WSGI_DISABLE_RELOADING"},
			{OrphanInterpreter.In(i), "ORPHAN_INTERPRETER"},
			{ChunkedRequest.In(i), "MOD_WSGI_CHUNKED_REQUEST"},
			{!Dynamic(ApplicationGroup.In(i)), "MOD_WSGI_IMPORT_HANDLER_SCRIPT"},
		}
	},
	writes: map[slot]func(*writer){
		slotWSGI: (*writer).wsgi,
		slotChunks: func(w *writer) {
			if ChunkedRequest.In(w.i) {
				w.add(conf.D("WSGIChunkedRequest", conf.Key("On")).From(ChunkedRequest))
			}
		},
		slotHandler: (*writer).handler,
	},
}

// wsgi adds the directives that control how the module loads the application.
func (w *writer) wsgi() {
	i := w.i
	if OrphanInterpreter.In(i) {
		w.add(conf.D("WSGIDestroyInterpreter", conf.Key("Off")).From(OrphanInterpreter))
	}
	w.add(
		conf.D("WSGICallableObject", word(CallableObject.In(i))).From(CallableObject),
		conf.D("WSGIPassAuthorization", conf.Key("On")),
		conf.D("WSGIMapHEADToGET", conf.Key(titled(MapHEADToGET.In(i)))).From(MapHEADToGET),
	)
	if DisableReloading.In(i) || EmbeddedMode.In(i) {
		w.add(conf.D("WSGIScriptReloading", conf.Key("Off")).From(DisableReloading, EmbeddedMode))
	}
}

// code returns the application, and the directory that it imports modules from.
func (i *Instance) code() []privateFile {
	var list []privateFile
	if i.Entry != "" && ApplicationType.In(i) != "module" {
		list = append(list, privateFile{what: "the application", path: i.fromLaunch(i.Entry), code: true})
	}
	if ApplicationType.In(i) != "static" {
		list = append(list, privateFile{what: "the working directory of the application", path: i.Work, code: true})
	}
	return list
}

// groupOrigins returns the options that determine the name of the process group.
func (i *Instance) groupOrigins() []conf.Origin {
	return i.unless(ProcessGroup, Host, Port)
}

// handler registers the handler script and preloads it when a process starts.
func (w *writer) handler() {
	i := w.i
	script := filepath.Join(i.Root, HandlerFile)
	process := i.Group
	if !i.Daemon() {
		process = "%{GLOBAL}"
	}
	origins := append(orMode(ApplicationGroup), slices.Concat(i.groupOrigins(), i.rootOrigins())...)
	options := func(d *conf.Directive) *conf.Directive {
		if host.DaemonMode {
			d.Args = append(d.Args, conf.Pair{Name: "process-group", Value: process})
		}
		d.Args = append(d.Args, conf.Pair{Name: "application-group", Value: ApplicationGroup.In(i)})
		return d
	}
	w.add(options(conf.D("WSGIHandlerScript", conf.Key("wsgi-handler"), word(script))).From(origins...))
	if !Dynamic(ApplicationGroup.In(i)) {
		w.add(options(conf.D("WSGIImportScript", word(script))).From(origins...))
	}
}

// Dynamic reports whether the application group depends on the request, so that
// nothing can be loaded for it in advance.
func Dynamic(group string) bool { return strings.Contains(group, "%{") && group != "%{GLOBAL}" }

// moduleName reports whether s is the name of a module. Python does not limit names
// to ASCII.
func moduleName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsAny(part, "/\\ \t\r\n'\"-:;,()[]{}") || part[0] >= '0' && part[0] <= '9' {
			return false
		}
	}
	return true
}

// GroupName returns HOST:PORT, with localhost if the server listens on all addresses.
func GroupName(host string, port int) string {
	if host == "" {
		host = "localhost"
	}
	return fmt.Sprintf("%s:%d", Unbracket(host), port)
}

// Application finds the application to serve.
func (i *Instance) Application() error {
	entry := EntryPoint.In(i)
	if entry == "" && len(i.Positional) > 0 {
		entry = i.Positional[0]
	}
	switch ApplicationType.In(i) {
	case "static":
		if DocumentRoot.In(i) == "" {
			i.Docs = filepath.Clean(OrElse(i.abs(entry), i.LaunchDir))
		}
	case "module":
		i.Entry = entry
		if entry != "" && !moduleName(entry) {
			hint := "omit --application-type to serve a file"
			if module, callable, ok := strings.Cut(entry, ":"); ok && moduleName(module) {
				hint = "use " + module + " --callable-object " + callable
			}
			return option.Usage(hint, "%q is not the name of a Python module", entry)
		}
		i.lookForModule()
	default:
		if entry == "" {
			break
		}
		i.Entry = filepath.Clean(i.abs(entry))
		info, err := os.Stat(i.Entry)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint := "give the path of the WSGI script"
			if moduleName(entry) && ApplicationType.In(i) == "script" {
				hint += ", or --application-type module if it is the name of a module"
			}
			return fault.New(fault.Usage, hint, "the application %s does not exist", i.Entry)
		case err != nil:
			return fault.New(fault.Usage, "", "the application: %w", err)
		case info.IsDir():
			return fault.New(fault.Usage, "use --application-type static to serve a directory of files", "the application %s is a directory", i.Entry)
		}
	}
	if DocumentRoot.In(i) != "" || ApplicationType.In(i) == "static" {
		return i.checkDocumentRoot()
	}
	return nil
}

// lookForModule warns if the module to serve is not in any directory that it would be
// imported from. It stays silent if a .pth file runs code, which could add others.
func (i *Instance) lookForModule() {
	if ApplicationType.In(i) != "module" || i.Entry == "" {
		return
	}
	added, known := pathFiles(i.Python.Site)
	if !known {
		return
	}
	first, _, _ := strings.Cut(i.Entry, ".")
	dirs := append([]string{i.Work, i.Python.Site, i.Python.Stdlib}, added...)
	for _, d := range PythonPath.In(i) {
		dirs = append(dirs, i.fromLaunch(d))
	}
	for _, dir := range dirs {
		for _, pattern := range []string{first, first + ".py", first + ".pyc", first + ".*so", first + ".*pyd"} {
			if found, _ := fs.Glob(os.DirFS(dir), pattern); len(found) > 0 {
				return
			}
		}
	}
	i.Warn("the module " + first + " is neither in " + i.Work + " nor among the packages of this environment; see --working-directory and --python-path")
}

// HandlerFile is the script in the server root that connects mod_wsgi to the
// application.
const HandlerFile = "handler.wsgi"
