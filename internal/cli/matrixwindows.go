package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/modulebuild/windows"
	"modwsgi/packaging"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/winzip"
)

// windowsRelease is what a release.toml takes for Windows: everything that can be
// wrong with it is looked at before anything is built.
type windowsRelease struct {
	launcher string
	sign     *authenticode.Signer // nil for unsigned
}

var windowsPython = regexp.MustCompile(`^3\.[0-9]+$`)

// dropRepeated leaves one of the cells for Windows that mean the same artifact:
// what an httpd is made with makes no difference there, only its version.
func (r *matrixRun) dropRepeated() {
	seen := map[string]bool{}
	r.cells = slices.DeleteFunc(r.cells, func(c matrix.Cell) bool {
		if !matrix.IsWindows(c.Platform) {
			return false
		}
		key := c.Platform + "\x00" + c.Format + "\x00" + windowsKey(c)
		repeated := seen[key]
		seen[key] = true
		return repeated
	})
}

// windowsCells are those of the cells that are for Windows, one a build.
func (r *matrixRun) windowsCells() []matrix.Cell {
	var all []matrix.Cell
	seen := map[string]bool{}
	for _, c := range r.cells {
		if key := windowsKey(c); matrix.IsWindows(c.Platform) && !seen[key] {
			seen[key] = true
			all = append(all, c)
		}
	}
	return all
}

func windowsKey(c matrix.Cell) string { return c.HTTPD.Version + "\x00" + c.Python }

// checkWindows checks what can be checked of the cells for Windows.
func (r *matrixRun) checkWindows(context.Context) error {
	cells := r.windowsCells()
	if len(cells) == 0 {
		return nil
	}
	for _, c := range cells {
		if !windowsPython.MatchString(c.Python) {
			return fault.New(fault.Usage, `name it as in pythons = ["3.12"], or leave it out for Windows with [[exclude]]`,
				"%s: a Python for Windows has a minor version, and no path on this machine", c)
		}
		w := r.windowsFlags(c)
		if err := w.complete(r.a); err != nil {
			return err
		}
	}
	table := r.windowsTable()
	launcher, err := r.a.windowsLauncher(r.path(table.Launcher))
	if err != nil {
		return fault.New(fault.ClassOf(err), fault.HintOf(err)+"; [windows] launcher names it in a release.toml", "%w", err)
	}
	r.windows = &windowsRelease{launcher: launcher}
	if table.SignCert != "" || table.SignKey != "" {
		r.windows.sign = &authenticode.Signer{
			Cert: r.path(table.SignCert), Key: r.path(table.SignKey), Passphrase: r.path(table.SignPassphrase), Timestamp: table.SignTimestamp,
			Env: r.a.Env, Runner: r.a.runner(), Name: "mod_wsgi", URL: "https://www.modwsgi.org/",
		}
		return r.windows.sign.Check()
	}
	return nil
}

func (r *matrixRun) windowsTable() matrix.Windows {
	if r.m.Windows == nil {
		return matrix.Windows{}
	}
	return *r.m.Windows
}

// windowsFlags are what "package windows" would get for a cell.
func (r *matrixRun) windowsFlags(c matrix.Cell) *windowsFlags {
	table, q := r.windowsTable(), r.o.request
	w := &windowsFlags{
		pythons: []string{c.Python}, modWSGI: r.m.ModWSGI.Version, httpd: orText(c.HTTPD.Version, "2.4"), httpdSDK: r.path(table.HTTPDSDK),
		sourceDirs: append([]string(nil), q.SourceDirs...), mirrors: q.Mirrors, offline: q.Offline, jobs: q.Jobs, cacheDir: q.CacheDir, out: r.o.out,
	}
	if sdk := table.PythonSDK[c.Python]; sdk != "" {
		w.pythonSDKs = []string{c.Python + "=" + r.path(sdk)}
	}
	return w
}

// buildWindows builds each module for Windows once, one after the other: each
// takes all processors.
func (r *matrixRun) buildWindows(ctx context.Context) error {
	for _, c := range r.windowsCells() {
		stage, err := r.stageWindows(ctx, c)
		if err != nil {
			if err := r.fail(ctx, fmt.Sprintf("build for Python %s on Windows", c.Python), err); err != nil {
				return err
			}
			continue
		}
		r.mu.Lock()
		r.windowsStages[windowsKey(c)] = stage
		r.mu.Unlock()
	}
	return nil
}

func (r *matrixRun) stageWindows(ctx context.Context, c matrix.Cell) (*packaging.Stage, error) {
	w := r.windowsFlags(c)
	if err := w.complete(r.a); err != nil {
		return nil, err
	}
	scratch, err := r.p.Scratch()
	if err != nil {
		return nil, err
	}
	sign := func(string) error { return nil }
	if s := r.windows.sign; s != nil {
		one := *s
		one.Time = r.p.at
		sign = func(path string) error { return one.Sign(ctx, path) }
	}
	made, stages, err := r.a.stagesWindows(ctx, w, filepath.Clean(scratch), r.windows.launcher, r.p.at, sign)
	if err != nil {
		return nil, err
	}
	r.a.view.sink().Note(fmt.Sprintf("mod_wsgi %s for Python %s on Windows was built by %s", made[0].Version, c.Python, made[0].Compiler))
	return stages[0], nil
}

// writeWindowsCell makes the one artifact of a cell.
func writeWindowsCell(ctx context.Context, c matrix.Cell, d *packaging.Dist, s *packaging.Stage) error {
	write := winzip.Wheel
	if c.Format == "zip" {
		write = winzip.Zip
	}
	art, err := write(ctx, d, s)
	if err != nil {
		return err
	}
	art.Parameters["target"] = windows.Target
	d.Update(*art)
	return nil
}
