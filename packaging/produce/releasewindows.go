package produce

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/packaging/authenticode"
	"modwsgi/packaging/matrix"
)

var windowsPython = regexp.MustCompile(`^3\.[0-9]+$`)

// dropRepeated keeps one of several cells for Windows that describe the same artifact,
// which depends only on the version of an httpd.
func (o *Release) dropRepeated() {
	seen := map[string]bool{}
	o.cells = slices.DeleteFunc(o.cells, func(c matrix.Cell) bool {
		if !matrix.IsWindows(c.Platform) {
			return false
		}
		key := c.Platform + "\x00" + c.Format + "\x00" + windowsKey(c)
		repeated := seen[key]
		seen[key] = true
		return repeated
	})
}

// windowsCells are the cells for Windows, one per build.
func (o *Release) windowsCells() []matrix.Cell {
	var all []matrix.Cell
	seen := map[string]bool{}
	for _, c := range o.cells {
		if key := windowsKey(c); matrix.IsWindows(c.Platform) && !seen[key] {
			seen[key] = true
			all = append(all, c)
		}
	}
	return all
}

func windowsKey(c matrix.Cell) string { return c.HTTPD.Version + "\x00" + c.Python }

// checkWindows checks the cells for Windows before anything is built.
func (o *Release) checkWindows() error {
	cells := o.windowsCells()
	if len(cells) == 0 {
		return nil
	}
	for _, c := range cells {
		if !windowsPython.MatchString(c.Python) {
			return fault.New(fault.Usage, `name it as in pythons = ["3.12"], or leave it out for Windows with [[exclude]]`,
				"%s: a Python for Windows is named by its minor version, not by a path on this machine", c)
		}
		b := o.windowsBuild(c)
		if err := b.Complete(); err != nil {
			return err
		}
	}
	table := o.windowsTable()
	var err error
	if o.launcher, err = windowsLauncher(o.path(table.Launcher), o.Build.ToolsDir); err != nil {
		return fault.New(fault.ClassOf(err), fault.HintOf(err)+"; [windows] launcher names it in a release.toml", "%w", err)
	}
	if table.SignCert == "" && table.SignKey == "" {
		return nil
	}
	o.sign = o.signer(authenticode.Signer{
		Cert: o.path(table.SignCert), Key: o.path(table.SignKey), Passphrase: o.path(table.SignPassphrase), Timestamp: table.SignTimestamp,
	})
	return o.sign.Check()
}

func (o *Release) windowsTable() matrix.Windows {
	if o.m.Windows == nil {
		return matrix.Windows{}
	}
	return *o.m.Windows
}

// windowsBuild is the request of "package windows" for a cell.
func (o *Release) windowsBuild(c matrix.Cell) WindowsBuild {
	table, q := o.windowsTable(), o.Build
	b := WindowsBuild{
		Pythons: []string{c.Python}, ModWSGI: o.m.ModWSGI.Version, HTTPD: orText(c.HTTPD.Version, "2.4"), HTTPDSDK: o.path(table.HTTPDSDK),
		SDKs: map[string]string{}, Base: q, LockLimit: o.LockLimit,
	}
	b.Base.KeepBuild = false
	if sdk := table.PythonSDK[c.Python]; sdk != "" {
		b.SDKs[c.Python] = o.path(sdk)
	}
	return b
}

// buildWindows builds each module for Windows once, one at a time, as each uses all
// processors.
func (o *Release) buildWindows(ctx context.Context, l *line) error {
	for _, c := range o.windowsCells() {
		tree, err := o.stageWindows(ctx, l, c)
		if err != nil {
			if err := o.fail(ctx, fmt.Sprintf("build for Python %s on Windows", c.Python), err); err != nil {
				return err
			}
			continue
		}
		o.windows[windowsKey(c)] = tree
	}
	return nil
}

func (o *Release) stageWindows(ctx context.Context, l *line, c matrix.Cell) (*Tree, error) {
	b := o.windowsBuild(c)
	if err := b.Complete(); err != nil {
		return nil, err
	}
	made, trees, err := stageWindows(ctx, l, b, o.launcher, o.sign)
	if err != nil {
		return nil, err
	}
	l.events().Note(fmt.Sprintf("mod_wsgi %s for Python %s on Windows was built by %s", made[0].Version, c.Python, made[0].Compiler))
	return trees[0], nil
}
