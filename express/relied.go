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

// reliedFiles returns every file that root relies on, and how. Modules that the
// configuration loads are added later (loaded).
func (d *deployment) reliedFiles() []instance.Relied {
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
		if !d.Given(o) {
			by = ""
		}
		add(by, r, paths...)
	}
	add(d.HTTPDBy, instance.Executed, d.HTTPD)
	given(config.ModulesDirectory, instance.Executed, d.ModulesDir)
	given(config.RotatelogsExecutable, instance.Executed, d.Rotatelogs)
	add("option "+config.GDBExecutable.Flag(), instance.Executed, d.GDB)
	if d.printed {
		return files // another user runs the rest
	}
	for _, name := range config.IncludeFile.In(d) {
		add("option "+config.IncludeFile.Flag(), instance.Obeyed, config.Included(d.FromLaunch(name))...)
	}
	if config.RewriteRules.In(d) != "" {
		add("option "+config.RewriteRules.Flag(), instance.Obeyed, d.RewriteRules())
	}
	if config.SocketPrefix.In(d) != "" {
		// In a directory such as /tmp other users cannot replace files of root.
		add("option "+config.SocketPrefix.Flag(), instance.Created, filepath.Join(d.SocketDir, "wsgi.sock"))
	}
	given(config.MIMETypes, instance.Data, d.MIME)
	if a := d.ACME(); a != nil {
		add("option "+config.ACMECommand.Flag(), instance.Executed, a.Command)
		add("option "+config.ACMECA.Flag(), instance.Obeyed, a.CA)
	} else if d.Given(config.HTTPSPort) {
		cert, key := d.Certificate()
		add("the certificate", instance.Data, cert)
		add("the certificate's key", instance.Data, key)
		for _, o := range []option.Handle[string]{config.SSLCACertificateFile, config.SSLCertificateChainFile} {
			if file := o.In(d); file != "" {
				given(o, instance.Data, d.FromLaunch(file))
			}
		}
	}
	return files
}

// environmentFiles returns the files of the environment, which no option names.
func environmentFiles(in *site.Environment) []instance.Relied {
	files := []instance.Relied{{Path: in.Launcher, Role: instance.Executed}, {Path: filepath.Join(in.Packages, filepath.FromSlash(receipt.Path)), Role: instance.Executed}}
	files = append(files, instance.Relied{Path: in.Module, Role: instance.Executed})
	if file := in.Handover(); file != "" {
		files = append(files, instance.Relied{Path: file, Role: instance.Executed})
	}
	if lib := in.SharedPython(); lib != "" {
		files = append(files, instance.Relied{Path: lib, Role: instance.Executed})
	}
	return files
}

// loaded returns the modules and libraries that a configuration loads.
func (d *deployment) loaded(file *conf.File) []instance.Relied {
	var files []instance.Relied
	for _, n := range file.Nodes {
		line, ok := n.(*conf.Directive)
		if !ok || line.Name != "LoadModule" && line.Name != "LoadFile" {
			continue
		}
		path, ok := line.Args[len(line.Args)-1].(conf.Word)
		if !ok {
			continue
		}
		by := ""
		if d.Given(config.ModulesDirectory) && filepath.Dir(string(path)) == d.ModulesDir {
			by = "option " + config.ModulesDirectory.Flag()
		}
		files = append(files, instance.Relied{By: by, Path: string(path), Role: instance.Executed})
	}
	return files
}
