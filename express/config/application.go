package config

import "modwsgi/express/option"

var (
	ApplicationType = option.Text("application-type", "script", "TYPE", "How the entry point is loaded: script (a file), module (an importable name), paste (a Paste Deploy file) or static (files only).").
			Among(false, "script", "module", "paste", "static")
	EntryPoint     = option.Text("entry-point", "", "ENTRY", "The application to serve; the same as the first argument, and stronger than it.")
	CallableObject = option.Text("callable-object", "application", "NAME", "Name of the WSGI callable in the script or module.")
	MountPoint     = option.Text("mount-point", "/", "URL-PATH", "URL path below which the application answers.").
			Check(urlPath)
	ApplicationGroup = option.Text("application-group", "%{GLOBAL}", "NAME", "Interpreter of the application; by default the main one.").
				MayBeEmpty()
	ProcessGroup = option.Text("process-group", "", "NAME", "Name of the daemon process group.").
			DefaultText("HOST:PORT").Check(processGroup)
	MapHEADToGET = option.Text("map-head-to-get", "Auto", "WHEN", "Whether a HEAD request reaches the application as GET: Auto, On or Off.").
			Among(true, "Auto", "On", "Off")
	WorkingDirectory = option.Text("working-directory", "", "DIRECTORY", "Working directory of the application, and first on its module path.").
				DefaultText("current directory")
	ReloadOnChanges = option.Toggle("reload-on-changes", "Restart the application when a file of any module it has loaded changes.").
			With(unixOnly)
	DisableReloading = option.Toggle("disable-reloading", "Do not even reload when the entry point changes.").
				With(unixOnly)
	ChunkedRequest    = option.Toggle("chunked-request", "Accept request bodies without a length.")
	OrphanInterpreter = option.Toggle("orphan-interpreter", "End processes without tearing Python down; atexit functions do not run.").
				With(since("4.9.1"))
)

var applicationGroup = option.NewGroup("Application",
	ApplicationType, EntryPoint, CallableObject, MountPoint, ApplicationGroup, ProcessGroup, MapHEADToGET, WorkingDirectory,
	ReloadOnChanges, DisableReloading, ChunkedRequest, OrphanInterpreter,
)
