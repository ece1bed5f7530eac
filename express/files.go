package express

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// namedFiles reports files that options name and that are not there, by the
// option, before httpd or the account that serves finds out.
func (p *Program) namedFiles(i *instance) error {
	for _, f := range i.optionFiles() {
		if f.path == "" {
			continue
		}
		path := i.fromLaunch(f.path)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Usage, "", "option %s: the file %s is not there", f.option, path)
		case err == nil && info.IsDir() && f.option != config.IncludeFile:
			return fault.New(fault.Usage, "", "option %s: %s is a directory", f.option, path)
		}
	}
	if config.PIDFile.In(i) != "" {
		if err := wantDirectory(config.PIDFile, filepath.Dir(i.pidFile)); err != nil {
			return err
		}
		if !i.printed {
			if err := checkPIDFile(i.pidFile); err != nil {
				return err
			}
		}
	}
	for _, d := range config.PythonPath.In(i) {
		if path := i.fromLaunch(d); !exists(path) {
			p.warn("option --python-path: " + path + " is not there")
		}
	}
	if err := i.logNames(); err != nil {
		return err
	}
	return i.proxyTargets()
}

// named is a file that an option names.
type named struct {
	option option.Ref
	path   string
}

func (i *instance) optionFiles() []named {
	files := []named{
		{config.HostAccessScript, config.HostAccessScript.In(i)},
		{config.AuthUserScript, config.AuthUserScript.In(i)},
		{config.AuthGroupScript, config.AuthGroupScript.In(i)},
		{config.RewriteRules, config.RewriteRules.In(i)},
		{config.EnvvarsScript, config.EnvvarsScript.In(i)},
	}
	if config.MIMETypes.In(i) != os.DevNull {
		files = append(files, named{config.MIMETypes, config.MIMETypes.In(i)})
	}
	for _, v := range config.ServiceScript.In(i) {
		files = append(files, named{config.ServiceScript, v[1]})
	}
	for _, v := range config.AddHandler.In(i) {
		files = append(files, named{config.AddHandler, v[1]})
	}
	for _, v := range config.IncludeFile.In(i) {
		if !strings.ContainsAny(v, "*?[") || exists(i.fromLaunch(v)) {
			files = append(files, named{config.IncludeFile, v})
		}
	}
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// logNames checks the names of log files, which lie below the log directory.
func (i *instance) logNames() error {
	for _, l := range []struct {
		option option.Ref
		name   string
	}{{config.ErrorLogName, config.ErrorLogName.In(i)}, {config.AccessLogName, config.AccessLogName.In(i)}, {config.StartupLogName, config.StartupLogName.In(i)}} {
		option, name := l.option, l.name
		if !i.Given(option) {
			continue
		}
		if name == "" || strings.HasSuffix(name, "/") {
			return usage("start-server", "it lies in the log directory", "option %s: %q is not the name of a file", option, name)
		}
		dir := filepath.Dir(filepath.Join(i.logs, name))
		if dir == filepath.Clean(i.logs) {
			continue // that one we make
		}
		if err := wantDirectory(option, dir); err != nil {
			return err
		}
	}
	return nil
}

// proxyTargets checks where requests are passed on to.
func (i *instance) proxyTargets() error {
	for _, v := range config.ProxyMountPoint.In(i) {
		if err := proxyTarget(v[1]); err != nil {
			return usage("start-server", "", "option --proxy-mount-point: %w", err)
		}
	}
	for _, v := range config.ProxyVirtualHost.In(i) {
		if err := hostName(v[0]); err != nil {
			return usage("start-server", "", "option --proxy-virtual-host: %w", err)
		}
		if err := proxyTarget(v[1]); err != nil {
			return usage("start-server", "", "option --proxy-virtual-host: %w", err)
		}
	}
	return nil
}

// proxiedTLS are the options that pass requests on to a server over TLS.
func (i *instance) proxiedTLS() (options []conf.Origin) {
	for _, given := range []struct {
		option option.Ref
		list   [][2]string
	}{{config.ProxyMountPoint, config.ProxyMountPoint.In(i)}, {config.ProxyVirtualHost, config.ProxyVirtualHost.In(i)}} {
		if slices.ContainsFunc(given.list, func(v [2]string) bool {
			return strings.HasPrefix(v[1], "https:") || strings.Contains(v[1], "|https:")
		}) {
			options = append(options, given.option)
		}
	}
	return options
}

// pathFiles returns the directories that the .pth files of a directory with
// packages add to the module path; known is false where one runs code that may
// add others. That of setuptools, which most environments have, adds none.
func pathFiles(site string) (dirs []string, known bool) {
	names, _ := fs.Glob(os.DirFS(site), "*.pth")
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(site, name))
		if err != nil {
			return nil, false
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || line[0] == '#' || name == "distutils-precedence.pth":
			case strings.HasPrefix(line, "import ") || strings.HasPrefix(line, "import\t"):
				return nil, false
			case filepath.IsAbs(line):
				dirs = append(dirs, line)
			default:
				dirs = append(dirs, filepath.Join(site, line))
			}
		}
	}
	return dirs, true
}

// lookForModule warns where the module that is to be served is not seen where it
// would be imported from. It may still be there: files named *.pth add places.
func (p *Program) lookForModule(i *instance) {
	if config.ApplicationType.In(i) != "module" || i.entry == "" {
		return
	}
	added, known := pathFiles(i.in.Packages)
	if !known {
		return
	}
	first, _, _ := strings.Cut(i.entry, ".")
	dirs := append([]string{i.work, i.in.Packages, i.in.Stdlib}, added...)
	for _, d := range config.PythonPath.In(i) {
		dirs = append(dirs, i.fromLaunch(d))
	}
	for _, dir := range dirs {
		for _, pattern := range []string{first, first + ".py", first + ".pyc", first + ".*so", first + ".*pyd"} {
			if found, _ := fs.Glob(os.DirFS(dir), pattern); len(found) > 0 {
				return
			}
		}
	}
	p.warn("the module " + first + " is neither in " + i.work + " nor in the packages of this environment; see --working-directory and --python-path")
}

// proxyTarget accepts what mod_proxy_http can speak to: a URL, or a socket of
// this machine and a URL (unix:/path|http://name/).
func proxyTarget(v string) error {
	target := v
	if rest, ok := strings.CutPrefix(v, "unix:"); ok {
		_, target, _ = strings.Cut(rest, "|")
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not the URL of a server, such as http://NAME/", v)
	}
	return nil
}
