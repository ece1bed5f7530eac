package express

import (
	"context"
	"encoding/json"
	"path/filepath"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	pyruntime "modwsgi/express/runtime"
	"modwsgi/internal/fault"
)

// setUp writes the server root after all other checks. httpd itself checks the
// configuration before it replaces the previous one. With start, the server root stays
// locked until release is called.
func (d *deployment) setUp(ctx context.Context, start bool) (l *instance.Launch, release func(), err error) {
	file, text, err := d.Configuration()
	if err != nil {
		return nil, nil, err
	}
	l = d.launch()
	loaded := d.loaded(file)
	l.Files = append(d.reliedFiles(), loaded...)
	for _, name := range config.IncludeFile.In(d) {
		l.Includes = append(l.Includes, d.FromLaunch(name))
	}
	if err := d.trust.Files(loaded); err != nil {
		return nil, nil, err
	}
	if start {
		if err := l.CheckStopped(); err != nil {
			return nil, nil, err
		}
	}
	created := false
	if l.Handle, created, err = instance.MakeRoot(d.Root, d.account); err != nil {
		return nil, nil, err
	}
	release = func() {}
	if start {
		// The PID file cannot decide between two concurrent starts: httpd writes it late. The
		// lock ends with this process.
		if release, err = instance.LockRoot(ctx, d.Root, d.Env, d.Warn); err != nil {
			return nil, nil, err
		}
	}
	if err := d.fill(ctx, l, file, text); err != nil {
		release()
		if created {
			_ = l.Handle.Discard()
		}
		return nil, nil, err
	}
	l.RemoveSockets(d.SocketDir)
	return l, release, nil
}

// fill writes the files of a server root, httpd.conf last.
func (d *deployment) fill(ctx context.Context, l *instance.Launch, file *conf.File, text string) error {
	if err := instance.MakeDirectories(l.Handle, d.Root, d.account, d.directories()); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	undo := func() {}
	if len(l.Includes) > 0 {
		var err error
		if undo, err = instance.WriteHosts(l.Handle, d.Root, l.IncludedPaths()); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	if l.ACME != nil {
		if err := l.ACME.Prepare(); err != nil {
			return err
		}
		what := "the directory with the answers to the authority (--acme-state-directory)"
		if err := host.CheckAccess(d.account, []host.Need{{Path: l.ACME.Challenges(), What: what}}); err != nil {
			return err
		}
	}
	if err := d.tryConf(ctx, l, file, text); err != nil {
		undo()
		return err
	}
	defer func() { _ = l.Handle.Remove(trialFile) }()
	files, err := d.files(l)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := instance.Put(l.Handle, f, d.account); err != nil {
			return fault.Wrap(fault.Environment, "", err)
		}
	}
	return l.Handle.Root().Rename(trialFile, instance.ConfFile)
}

// files returns the files of the server root, apart from httpd.conf.
func (d *deployment) files(l *instance.Launch) ([]instance.RootFile, error) {
	settings, err := json.MarshalIndent(d.settings(), "", "  ")
	if err != nil {
		return nil, err
	}
	state, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, err
	}
	files := []instance.RootFile{{Name: settingsFile, Data: settings, Mode: 0o600, Shared: true}}
	for _, f := range []struct {
		when         bool
		name, source string
	}{
		{true, config.HandlerFile, "glue.py"},
		{len(config.AddHandler.In(d)) > 0, config.ResourceFile, "resource.py"},
		{config.EnableTelemetry.In(d), config.TelemetryFile, "telemetry.py"},
	} {
		if !f.when {
			continue
		}
		data, err := pyruntime.Files.ReadFile("mod_wsgi/express/" + f.source)
		if err != nil {
			return nil, err
		}
		files = append(files, instance.RootFile{Name: f.name, Data: data, Mode: 0o600, Shared: true})
	}
	files = append(files,
		instance.RootFile{Name: instance.InstanceFile, Data: state, Mode: 0o600},
		instance.RootFile{Name: host.ControlFile, Data: host.ControlStub(d.Launcher, d.Root), Mode: 0o700})
	if d.Manual() {
		files = append(files, instance.RootFile{Name: filepath.Join(filepath.Base(d.ManualDir()), "index.html"), Data: htmlManual(), Mode: 0o600, Shared: true})
	}
	return files, nil
}

// directories returns the directories that the instance needs.
func (d *deployment) directories() (list []instance.Directory) {
	for _, dir := range []struct {
		path string
		mine bool // the application writes to it
		want bool
	}{
		{d.Docs, false, true},
		{d.Eggs, true, true},
		{d.Logs, false, config.LogDirectory.In(d) != ""},
		{d.CoverageDir, true, d.CoverageDir != ""},
		{d.ServicesDir(), true, len(d.ServiceScripts()) > 0},
		{d.TelemetryDir(), true, config.EnableTelemetry.In(d)},
		{d.ProfilerDir, true, d.ProfilerDir != ""},
		{d.RecorderDir, true, d.RecorderDir != ""},
		{d.ManualDir(), false, d.Manual()},
	} {
		if dir.want {
			list = append(list, instance.Directory{Path: dir.path, Mine: dir.mine})
		}
	}
	return list
}
