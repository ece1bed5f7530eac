// The command arrows measures how a Go module is built: per package its files,
// lines and functions, the largest of them, and the arrows between its files.
//
// There is an arrow from file A to file B of a package if A uses something that B
// declares: a function, a method, a type, a field, a variable or a constant. Files
// that are read from top to bottom have an order in which every arrow points down.
// Two numbers say how far a package is from that:
//
//   - back: arrows that point up in an order of the files that has few of them
//     (see order.go). It is 0 exactly where such an order exists.
//   - cycle: arrows between files of one circle: each of the two files needs the
//     other, directly or through others. This number is exact.
//
// Tests and files for other systems (GOOS, build tags) are not counted.
//
// Usage, from the root of the project:
//
//	go -C scripts/arrows run . [-dir DIRECTORY] [-json] [-show PACKAGE] [PATTERN...]
//
// -show lists a package's files in their order, and the arrows that point up.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/tools/go/packages"
)

// The sizes at which the project aims (CONTRIBUTING.md).
const (
	functionLines = 45
	fileLines     = 450
)

func main() {
	dir := flag.String("dir", "../..", "the module's `directory`")
	asJSON := flag.Bool("json", false, "print JSON")
	show := flag.String("show", "", "list the files of one `package` and the arrows that point up")
	flag.Parse()
	patterns := flag.Args()
	if *show != "" {
		patterns = []string{"./" + strings.TrimPrefix(*show, "./")}
	} else if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	measured, err := measure(*dir, patterns)
	if err == nil {
		switch {
		case *asJSON:
			e := json.NewEncoder(os.Stdout)
			e.SetIndent("", "  ")
			err = e.Encode(measured)
		case *show != "":
			err = showOrder(measured)
		default:
			err = table(measured)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(1)
	}
}

// Size is something and its length.
type Size struct {
	Name  string `json:"name"`
	Lines int    `json:"lines"`
}

// Arrow says that one file uses another.
type Arrow struct {
	From string   `json:"from"`
	To   string   `json:"to"`
	Uses []string `json:"uses"` // what it uses there
}

// Package is what was measured of one.
type Package struct {
	Path          string   `json:"path"` // below the module
	Files         int      `json:"files"`
	Lines         int      `json:"lines"`
	Functions     int      `json:"functions"`
	LongFunctions int      `json:"long_functions"` // of more than functionLines
	LongFiles     int      `json:"long_files"`     // of more than fileLines
	Function      Size     `json:"largest_function"`
	File          Size     `json:"largest_file"`
	Arrows        int      `json:"arrows"`
	Back          int      `json:"back"`
	Cycle         int      `json:"cycle"`
	Order         []string `json:"order"` // of the files
	Up            []Arrow  `json:"up"`    // the arrows that point up in it
}

func measure(dir string, patterns []string) ([]Package, error) {
	loaded, err := packages.Load(&packages.Config{
		Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedModule | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedExportFile,
	}, patterns...)
	if err != nil {
		return nil, err
	}
	var out []Package
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("load %s: %w", p.PkgPath, p.Errors[0])
		}
		if len(p.Syntax) > 0 {
			out = append(out, measurePackage(p))
		}
	}
	slices.SortFunc(out, func(a, b Package) int { return cmp.Compare(a.Path, b.Path) })
	return out, nil
}

func measurePackage(p *packages.Package) Package {
	out := Package{Path: p.PkgPath, Files: len(p.Syntax)}
	if p.Module != nil {
		out.Path = cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p.PkgPath, p.Module.Path), "/"), ".")
	}
	var names []string
	for _, f := range p.Syntax {
		file := Size{filepath.Base(p.Fset.Position(f.FileStart).Filename), p.Fset.File(f.FileStart).LineCount() - 1}
		names = append(names, file.Name)
		out.Lines += file.Lines
		if file.Lines > fileLines {
			out.LongFiles++
		}
		out.File = larger(out.File, file)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			size := Size{functionName(fn), p.Fset.Position(fn.End()).Line - p.Fset.Position(fn.Pos()).Line + 1}
			out.Functions++
			if size.Lines > functionLines {
				out.LongFunctions++
			}
			out.Function = larger(out.Function, size)
		}
	}
	uses := arrows(p.Fset, p.Types, p.Syntax, p.TypesInfo)
	g := graph{}
	for from, to := range uses {
		for name := range to {
			g.add(from, name)
		}
	}
	slices.Sort(names)
	out.Order = g.order(names)
	out.Arrows, out.Cycle = g.size(), g.inCycles(names)
	for _, a := range g.up(out.Order) {
		out.Up = append(out.Up, Arrow{a[0], a[1], slices.Sorted(maps.Keys(uses[a[0]][a[1]]))})
	}
	out.Back = len(out.Up)
	return out
}

func larger(a, b Size) Size {
	if b.Lines > a.Lines {
		return b
	}
	return a
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + f.Name.Name
		default:
			return f.Name.Name
		}
	}
}

// arrows returns what each file uses of which other file: from -> to -> names.
func arrows(fset *token.FileSet, of *types.Package, files []*ast.File, info *types.Info) map[string]map[string]map[string]bool {
	out := map[string]map[string]map[string]bool{}
	base := func(at token.Pos) string { return filepath.Base(fset.Position(at).Filename) }
	for _, f := range files {
		from := base(f.FileStart)
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			used := info.Uses[id]
			if used == nil || used.Pkg() != of || !used.Pos().IsValid() || base(used.Pos()) == from {
				return true
			}
			to := base(used.Pos())
			if out[from] == nil {
				out[from] = map[string]map[string]bool{}
			}
			if out[from][to] == nil {
				out[from][to] = map[string]bool{}
			}
			out[from][to][used.Name()] = true
			return true
		})
	}
	return out
}

func table(measured []Package) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "package\tfiles\tlines\tfunctions\tarrows\tback\tcycle\tlong functions\tlong files\tlargest function\tlargest file")
	var all Package
	for _, p := range measured {
		row(w, p)
		all.Files += p.Files
		all.Lines += p.Lines
		all.Functions += p.Functions
		all.Arrows += p.Arrows
		all.Back += p.Back
		all.Cycle += p.Cycle
		all.LongFunctions += p.LongFunctions
		all.LongFiles += p.LongFiles
		all.Function = larger(all.Function, Size{p.Path + ": " + p.Function.Name, p.Function.Lines})
		all.File = larger(all.File, Size{p.Path + "/" + p.File.Name, p.File.Lines})
	}
	all.Path = fmt.Sprintf("all %d", len(measured))
	row(w, all)
	return w.Flush()
}

func row(w *tabwriter.Writer, p Package) {
	function := "-"
	if p.Functions > 0 {
		function = fmt.Sprintf("%s (%d)", p.Function.Name, p.Function.Lines)
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s (%d)\n", p.Path, p.Files, p.Lines, p.Functions,
		p.Arrows, p.Back, p.Cycle, p.LongFunctions, p.LongFiles, function, p.File.Name, p.File.Lines)
}

func showOrder(measured []Package) error {
	for _, p := range measured {
		fmt.Printf("%s: %d of %d arrows point up, %d are in a circle\n", p.Path, p.Back, p.Arrows, p.Cycle)
		for _, name := range p.Order {
			fmt.Println("  " + name)
			for _, a := range p.Up {
				if a.From == name {
					fmt.Printf("      up to %s: %s\n", a.To, strings.Join(a.Uses, ", "))
				}
			}
		}
	}
	return nil
}
