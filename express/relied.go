package express

import (
	"os"
	"path/filepath"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/receipt"
)

// reliedFiles is the table: every file that root relies on, and how. Modules are
// added when the configuration names them (loaded).
func (i *resolved) reliedFiles() []instance.Relied {
	var files []instance.Relied
	add := func(by string, r instance.Role, paths ...string) {
		for _, path := range paths {
			if path != "" && path != os.DevNull {
				files = append(files, instance.Relied{By: by, Path: path, Role: r})
			}
		}
	}
	given := func(o option.Ref, r instance.Role, paths ...string) {
		by := "option " + o.Flag()
		if !i.Given(o) {
			by = ""
		}
		add(by, r, paths...)
	}
	add(i.HTTPDBy, instance.Executed, i.HTTPD)
	given(config.ModulesDirectory, instance.Executed, i.ModulesDir)
	given(config.RotatelogsExecutable, instance.Executed, i.Rotatelogs)
	add("option "+config.GDBExecutable.Flag(), instance.Executed, i.GDB)
	if i.printed {
		return files // who runs the rest is somebody else
	}
	for _, name := range config.IncludeFile.In(i) {
		add("option "+config.IncludeFile.Flag(), instance.Obeyed, config.Included(i.FromLaunch(name))...)
	}
	if config.RewriteRules.In(i) != "" {
		add("option "+config.RewriteRules.Flag(), instance.Obeyed, i.RewriteRules())
	}
	if config.SocketPrefix.In(i) != "" {
		// In a directory such as /tmp others cannot replace what is root's.
		add("option "+config.SocketPrefix.Flag(), instance.Created, filepath.Join(i.SocketDir, "wsgi.sock"))
	}
	given(config.MIMETypes, instance.Data, i.MIME)
	if i.Given(config.HTTPSPort) {
		cert, key := i.Certificate()
		add("the certificate", instance.Data, cert)
		add("the certificate's key", instance.Data, key)
		for _, o := range []option.Handle[string]{config.SSLCACertificateFile, config.SSLCertificateChainFile} {
			if file := o.In(i); file != "" {
				given(o, instance.Data, i.FromLaunch(file))
			}
		}
	}
	return files
}

// environmentFiles are those of the environment, which no option names.
func environmentFiles(in *site.Environment) []instance.Relied {
	files := []instance.Relied{{Path: in.Launcher, Role: instance.Executed}, {Path: filepath.Join(in.Packages, filepath.FromSlash(receipt.Path)), Role: instance.Executed}}
	files = append(files, instance.Relied{Path: in.Module, Role: instance.Executed})
	if lib := in.SharedPython(); lib != "" {
		files = append(files, instance.Relied{Path: lib, Role: instance.Executed})
	}
	return files
}

// loaded are the modules and libraries that a configuration loads.
func (i *resolved) loaded(file *conf.File) []instance.Relied {
	var files []instance.Relied
	for _, n := range file.Nodes {
		d, ok := n.(*conf.Directive)
		if !ok || d.Name != "LoadModule" && d.Name != "LoadFile" {
			continue
		}
		path, ok := d.Args[len(d.Args)-1].(conf.Word)
		if !ok {
			continue
		}
		by := ""
		if i.Given(config.ModulesDirectory) && filepath.Dir(string(path)) == i.ModulesDir {
			by = "option " + config.ModulesDirectory.Flag()
		}
		files = append(files, instance.Relied{By: by, Path: string(path), Role: instance.Executed})
	}
	return files
}
