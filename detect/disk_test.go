//go:build unix

package detect

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/apxs"
)

// thisDiskAsData is this machine's file system as another machine's disk.
func thisDiskAsData(t *testing.T) *Disk {
	t.Helper()
	root, err := os.OpenRoot("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return NewDisk(root.FS(), ThisDisk().goos)
}

// TestOneFileReadsThisMachine: everything but disk_here.go reads through Disk, so that
// this machine and another one's disk are read by the same code.
func TestOneFileReadsThisMachine(t *testing.T) {
	free := map[string][]string{ // per package, what does not access files
		"os":            {"Geteuid", "IsPathSeparator"},
		"path/filepath": {"Abs", "Base", "Clean", "Dir", "Ext", "FromSlash", "IsAbs", "IsLocal", "Join", "Match", "Rel", "Separator", "SplitList", "ToSlash", "VolumeName"},
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || name == "disk_here.go" {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		called := map[string]string{} // name in the file -> package
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			called[filepath.Base(imported)] = imported
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			allowed, guarded := free[called[pkg.Name]]
			reads := guarded && !slices.Contains(allowed, sel.Sel.Name) ||
				slices.Contains([]string{"elf.Is", "elf.Open", "elf.Read", "libpython.VersionOf", "pe.ReadLibrary", "apxs.Find", "apxs.Load", "apxs.ParseFile", "filetree.Glob"}, pkg.Name+"."+sel.Sel.Name)
			if reads {
				t.Errorf("%s: %s.%s reads this machine; use a Disk", set.Position(n.Pos()), pkg.Name, sel.Sel.Name)
			}
			checked++
			return true
		})
	}
	if checked < 100 {
		t.Errorf("only %d uses of other packages found", checked)
	}
}

// TestTreeBelow: apxs, which runs without this package, and a Disk find the same tree.
func TestTreeBelow(t *testing.T) {
	tree := func(prefix, lib, site string) string {
		root := filepath.Join(prefix, lib, site, filepath.FromSlash(PackageDir))
		write(t, filepath.Join(root, "build", "config_vars.mk"), "prefix = x\n", 0o644)
		return root
	}
	dir := t.TempDir()
	old := tree(filepath.Join(dir, "env"), "lib/python3.9", "site-packages")
	shared := filepath.Join(dir, "shared")
	tree(shared, "lib/python3.9", "site-packages")
	newest := tree(shared, "lib64/python3.13t", "dist-packages")
	windows := tree(filepath.Join(dir, "windows"), "Lib", "site-packages")
	write(t, filepath.Join(dir, "env", "bin", "mod_wsgi-apxs"), "", 0o755)
	link := symlink(t, filepath.Join(dir, "env", "bin", "mod_wsgi-apxs"), filepath.Join(dir, "apxs"))
	for program, want := range map[string]string{
		filepath.Join(dir, "env", "bin", "mod_wsgi-apxs"): old,
		filepath.Join(shared, "bin", "mod_wsgi-apxs"):     newest,
		filepath.Join(dir, "windows", "Scripts", "x.exe"): windows,
		filepath.Join(dir, "none", "bin", "x"):            "",
		link:                                              old,
	} {
		if got, err := apxs.Find(program); got != want || (err == nil) != (want != "") {
			t.Errorf("apxs %s: %q, %v, want %q", program, got, err, want)
		}
		for name, d := range map[string]*Disk{"this machine's": ThisDisk(), "another": thisDiskAsData(t)} {
			if got := d.treeBeside(program); got != want {
				t.Errorf("%s disk, %s: %q, want %q", name, program, got, want)
			}
		}
	}
}
