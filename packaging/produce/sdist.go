package produce

import (
	"context"
	"fmt"

	"modwsgi/installer"
	"modwsgi/internal/version"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/toolwheel"
)

func sdistFormat() Format {
	return Format{
		Name: "sdist", From: NoTree, Write: writeSdist,
		Options: []Option{
			{
				Name: "sources", Kind: matrix.Text, Default: "all", FlagOnly: true, Check: oneOf("all", "module", "none"),
				Help: "archives to include: all, module or none",
			},
			{Name: "tools", Kind: matrix.Strings, FlagOnly: true, Path: true, Help: "wheel of modwsgi of this version, or directory of such wheels, to include (repeatable)"},
			{Name: "local_version", Kind: matrix.Text, FlagOnly: true, Help: "local version label, as in 5.0.2+LABEL"},
		},
		Command: Command{
			Use: "sdist", Short: "Make a source distribution that pip builds with modwsgi",
			Long: "sdist makes mod_wsgi-VERSION.tar.gz for a package index. pip install builds it on the machine that it installs\n" +
				"on, for that Python and its httpd, or with a bundled httpd. It names its build backend, modwsgi.build in the\n" +
				"wheel of modwsgi, which the same index must have: --tools includes it (docs/guides/package-index.md). The source\n" +
				"archives are inside, so that the build fetches nothing. --sources module includes only that of mod_wsgi,\n" +
				"--sources none includes none.",
			Example: "  modwsgi package sdist --tools modwsgi-1.0.0-py3-none-manylinux2014_x86_64.whl --out dist\n" +
				"  pip install --no-index --find-links dist --no-binary mod_wsgi mod_wsgi",
			Next: nextForSdist,
		},
	}
}

func nextForSdist(r *Result, v Values) []string {
	if len(v.List("tools")) > 0 {
		return wheelFormat().Command.Next(r, v)
	}
	return []string{fmt.Sprintf("pip needs the wheel of modwsgi %s to build it: include that with --tools, or put it into the same index", version.Release)}
}

// writeSdist collects the archives and writes the file, next to the wheels of the
// named tools.
func writeSdist(ctx context.Context, w *Work) ([]string, error) {
	v, q := w.Values, w.Build
	tools, err := toolwheel.Find(v.List("tools"), version.Release)
	if err != nil {
		return nil, err
	}
	q.ToolsDir = "" // nothing is built
	got, err := installer.Collect(ctx, q.Wish, q.Means)
	if err != nil {
		return nil, err
	}
	defer got.Close()
	s := toolwheel.Sdist{
		Version: got.Version("mod_wsgi"), Python: got.Python, Tool: version.Release, Lock: got.Lock, Archives: map[string]toolwheel.Archive{}, Time: w.Time,
		Parameters: map[string]string{"sources": v.Text("sources")},
	}
	if label := v.Text("local_version"); label != "" {
		s.Version += "+" + label
	}
	var inside []installer.Source
	for _, f := range got.Files {
		if sources := v.Text("sources"); sources == "all" || sources == "module" && f.Component == "mod_wsgi" {
			s.Archives[f.File] = toolwheel.Archive{Path: f.Path, SHA256: f.SHA256}
			inside = append(inside, f.Source)
		}
	}
	s.Components = sourceComponents(inside)
	if err := s.Package(w.Dist); err != nil {
		return nil, err
	}
	for _, t := range tools {
		if err := t.Package(w.Dist); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
