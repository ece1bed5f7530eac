package config

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	ServiceScript = option.Pairs("service-script", "NAME SCRIPT", "Run a script in a separate process.").
			With(unixOnly, since("4.6.0"))
	ServiceUser = option.Pairs("service-user", "NAME USER", "User that a service runs as.").
			DefaultText("--user").With(unixOnly, since("4.6.0"))
	ServiceGroup = option.Pairs("service-group", "NAME GROUP", "Group that a service runs as.").
			DefaultText("--group").With(unixOnly, since("4.6.0"))
	ServiceLogFile = option.Pairs("service-log-file", "NAME FILE", "Log file of a service, in the log directory.").
			Alias("service-log").With(unixOnly, since("4.6.0"))
)

// services is the scripts that run in separate processes.
var services = feature{
	options: option.NewGroup("Services",
		ServiceScript, ServiceUser, ServiceGroup, ServiceLogFile,
	),
	conflicts: serviceConflicts,
	files: func(i *Instance) (list []named) {
		for _, v := range ServiceScript.In(i) {
			list = append(list, named{ServiceScript, v[1]})
		}
		return list
	},
	reads: func(i *Instance) (list []Need) {
		for _, v := range ServiceScript.In(i) {
			if LastOf(ServiceUser.In(i), v[0]) == "" {
				list = append(list, Need{i.fromLaunch(v[1]), "the script of the service " + v[0], true})
			}
		}
		return list
	},
	private: func(i *Instance) (list []privateFile) {
		for _, v := range ServiceScript.In(i) {
			list = append(list, privateFile{what: "the service " + v[0], path: i.fromLaunch(v[1]), code: true})
		}
		for _, v := range ServiceLogFile.In(i) {
			list = append(list, privateFile{what: "the log of the service " + v[0], path: filepath.Join(i.Logs, v[1]), log: true})
		}
		return list
	},
	logs: func(i *Instance) (names []string) {
		for _, v := range ServiceLogFile.In(i) {
			names = append(names, v[1])
		}
		return names
	},
	carries: func(i *Instance) (list []carriedValue) {
		for _, v := range ServiceScript.In(i) {
			list = append(list, carriedValue{i.fromLaunch(v[1]), "", ServiceScript})
		}
		return list
	},
	writes:      map[slot]func(*writer){slotServices: (*writer).services},
	hostOptions: by(ServiceLogFile),
	hosts:       map[hostSlot]func(*writer, string) []virtualHost{hostServices: (*writer).serviceHosts},
}

// serviceHosts returns the virtual hosts of services with separate logs, because httpd
// supports separate log files only for virtual hosts. Clients cannot reach them.
func (w *writer) serviceHosts(scheme string) (list []virtualHost) {
	if scheme != "http" {
		return nil
	}
	i := w.i
	for _, s := range i.ServiceScripts() {
		file := LastOf(ServiceLogFile.In(i), s[0])
		if file == "" {
			continue
		}
		body := []conf.Node{
			conf.D("ServerName", word(internalName+"service_"+s[0]+"_")),
			conf.D("ErrorLog", w.fileTarget(file, i.errorForm(), true, ServiceLogFile)).From(i.logOrigins(i.errorOrigins(ServiceLogFile)...)...), nobody(),
		}
		list = append(list, virtualHost{refuses, by(ServiceLogFile), append(body, w.service(s)...)})
	}
	return list
}

// serviceConflicts reports invalid names of services, and options for services that do
// not exist.
func serviceConflicts(s *Server) error {
	known := map[string]bool{}
	for _, v := range ServiceScript.In(s) {
		switch {
		case !LevelWords.MatchString(strings.ReplaceAll(v[0], "-", "_")) || strings.Contains(v[0], ":"):
			return option.Usage("use letters, digits, dots, dashes and underscores", "option --service-script: %q is not a valid name for a service", v[0])
		case known[v[0]]:
			return option.Usage("", "option --service-script: duplicate service %q", v[0])
		}
		known[v[0]] = true
	}
	for _, o := range []option.Handle[[][2]string]{ServiceUser, ServiceGroup, ServiceLogFile} {
		for _, v := range o.In(s) {
			if !known[v[0]] {
				return option.Usage("", "option %s: no such service: %q (see --service-script)", o, v[0])
			}
		}
	}
	for _, v := range ServiceLogFile.In(s) {
		if v[1] == "" || strings.HasPrefix(v[1], "|") || filepath.Base(v[1]) != v[1] {
			return option.Usage("the file is created in the log directory", "option --service-log-file: %q is not a file name", v[1])
		}
	}
	return nil
}

// ServiceScripts returns the names and scripts of all services.
func (i *Instance) ServiceScripts() [][2]string {
	scripts := slices.Clone(ServiceScript.In(i))
	if EnableTelemetry.In(i) {
		scripts = append(scripts, [2]string{telemetryService, filepath.Join(i.Root, TelemetryFile)})
	}
	return scripts
}

// services adds the services without separate logs. The others are in virtual hosts.
func (w *writer) services() {
	for _, s := range w.i.ServiceScripts() {
		if LastOf(ServiceLogFile.In(w.i), s[0]) == "" {
			w.add(w.service(s)...)
		}
	}
}

// service returns the directives that run a script in a separate process.
func (w *writer) service(s [2]string) []conf.Node {
	i := w.i
	name, group := s[0], "service:"+s[0]
	var by conf.Origin = ServiceScript
	if name == telemetryService && EnableTelemetry.In(i) {
		by = EnableTelemetry
	}
	d := conf.D("WSGIDaemonProcess", word(group), conf.Pair{Name: "display-name", Value: "%{GROUP}"}).From(append([]conf.Origin{
		by, ServiceUser, ServiceGroup, WorkingDirectory,
		PythonPath, Locale, Lang, ServerMetrics,
	}, i.eggsOrigins()...)...)
	pair := func(name, value string) {
		if value != "" {
			d.Args = append(d.Args, conf.Pair{Name: name, Value: value})
		}
	}
	pair("user", LastOf(ServiceUser.In(i), name))
	pair("group", LastOf(ServiceGroup.In(i), name))
	pair("home", i.Work)
	pair("threads", "0")
	pair("python-path", strings.Join(w.pythonPath(), ":"))
	pair("python-eggs", i.Eggs)
	pair("lang", i.Locale)
	pair("locale", i.Locale)
	if ServerMetrics.In(i) {
		pair("server-metrics", "On")
	}
	return []conf.Node{d, conf.D("WSGIImportScript", word(i.serviceRunner()), conf.Pair{Name: "process-group", Value: group},
		conf.Pair{Name: "application-group", Value: "%{GLOBAL}"}).From(by)}
}

// serviceRunner returns the path of the script that runs service scripts. It is not in
// the server root, which a service's user may be unable to enter.
func (i *Instance) serviceRunner() string {
	return filepath.Join(i.Python.Site, "mod_wsgi", "express", "service.py")
}

// ServicesDir returns the directory in which that script counts how often services
// have ended.
func (i *Instance) ServicesDir() string { return filepath.Join(i.Root, "services") }

// LastOf returns the last value for a name, or "".
func LastOf(list [][2]string, name string) string {
	for _, p := range slices.Backward(list) {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}
