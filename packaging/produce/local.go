package produce

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/recipe"
	"modwsgi/internal/scratch"
	"modwsgi/packaging/toolwheel"
)

// Local builds mod_wsgi from an unpacked source distribution for the Python of q. It
// writes a wheel for this machine alone into the directory out, and returns the
// wheel's path. This is what the build backend modwsgi.build does for pip. Such a
// wheel is not a release artifact and has no sums and no provenance.
func Local(ctx context.Context, q installer.Request, sdist, out string) (string, error) {
	if err := q.System.CanBuild("build a wheel of mod_wsgi"); err != nil {
		return "", err
	}
	wanted, label, err := sdistVersion(sdist)
	if err != nil {
		return "", err
	}
	at, err := sourceDate(q.Env)
	if err != nil {
		return "", err
	}
	if at.Year() == 1980 { // files as old as the default date look odd in an environment
		at = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	lock := filepath.Join(sdist, "modwsgi.lock")
	locked, err := recipe.ReadLock(lock)
	if err != nil {
		return "", fault.New(fault.Source, "make it again with modwsgi package sdist", "read the lock file of the source distribution: %w", err)
	}
	q.SourceDirs = append(q.SourceDirs, existing(filepath.Join(sdist, "sources"))...)
	q.ModWSGIVersion, q.LockFile = wanted, lock
	if _, ok := locked.Find("openssl"); !ok && (q.Libraries == "" || q.Libraries == "auto") {
		q.Libraries = "host" // it was made without the archives of libraries
	}
	// The user may choose another httpd than the locked one; everything else stays.
	q.Locked = q.HTTPDVersion == ""
	if !q.Locked {
		temp, err := scratch.Make("", scratch.Lock)
		if err != nil {
			return "", err
		}
		defer func() { _ = temp.Discard() }()
		data, err := os.ReadFile(lock)
		if err != nil {
			return "", err
		}
		q.LockFile = filepath.Join(temp.Path(), "modwsgi.lock")
		if err := os.WriteFile(q.LockFile, data, 0o644); err != nil {
			return "", err
		}
	}
	if q.HTTPD, err = httpdForWheel(ctx, q); err != nil {
		return "", err
	}
	built, err := installer.Stage(ctx, q.Means, q.StagePlan)
	if err != nil {
		return "", err
	}
	defer built.Close()
	python := ""
	if a, known := recipe.Catalogue().Find("mod_wsgi", wanted); known {
		python = a.Requires["python"]
	}
	return toolwheel.Local(out, treeOf(built, at).Stage, python, label)
}

func existing(dir string) []string {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return []string{dir}
	}
	return nil
}

// sdistVersion reads the version of mod_wsgi of an unpacked source distribution, and
// its local label.
func sdistVersion(dir string) (version, label string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "PKG-INFO"))
	if err != nil {
		return "", "", fault.New(fault.Usage, "modwsgi.build builds only source distributions made by modwsgi package sdist",
			"%s is not an unpacked source distribution of mod_wsgi: %w", dir, err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	if pydist.NormalName(fields["Name"]) != pydist.NormalName(toolwheel.ModuleName) || fields["Version"] == "" {
		return "", "", fault.New(fault.Usage, "modwsgi.build builds only source distributions made by modwsgi package sdist",
			"%s is %s %s, not mod_wsgi", dir, fields["Name"], fields["Version"])
	}
	version, label, _ = strings.Cut(fields["Version"], "+")
	return version, label, nil
}

// httpdForWheel resolves "auto": the system's httpd if mod_wsgi can be built for it,
// else a bundled one in the wheel. An environment's httpd is not used, because the
// wheel may be installed elsewhere.
func httpdForWheel(ctx context.Context, q installer.Request) (string, error) {
	if q.HTTPD != "" && q.HTTPD != "auto" {
		return q.HTTPD, nil
	}
	if q.HTTPDVersion != "" || len(q.With)+len(q.Without) > 0 || q.Libraries == "bundled" {
		return "bundled", nil
	}
	req := detect.Request{Python: q.Python, HTTPD: "auto", Env: q.Env, Dir: q.Dir}
	py, err := detect.FindPython(ctx, q.Runner, req)
	if err != nil {
		return "", err
	}
	found, err := detect.FindHTTPDs(ctx, q.Runner, py, req)
	if err != nil {
		return "", err
	}
	var usable []detect.HTTPD
	for _, h := range found {
		if h.Provenance != detect.Bundled {
			usable = append(usable, h)
		}
	}
	chosen, err := detect.Choose(usable, req)
	switch {
	case err != nil && !errors.Is(err, detect.ErrNoHTTPD):
		return "", err
	case chosen == nil:
		return "bundled", nil
	case chosen.APXS != "":
		return chosen.APXS, nil
	}
	return chosen.Executable, nil
}
