package site

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/detect"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
)

// An environment outlives its installation: its Python is upgraded, the link to it is
// moved, or it is recreated with another version. The module may not fit then, and
// httpd would not notice: it runs the interpreter that the module loads with whatever
// standard library it finds, or its processes abort again and again. So the module is
// compared with the environment's current Python (receipt.Compare) before anything is
// announced or started.

// IdentifyPython is replaced by tests that resolve thousands of command lines.
var IdentifyPython = detect.Identify

// Fits refuses a module that does not fit the environment's current Python.
func (in *Environment) Fits() error {
	today := receipt.Look(in.Receipt, in.pythonToday())
	var why []string
	for _, d := range receipt.Compare(in.Receipt, today) {
		// Which httpd serves is chosen later: an option may name another.
		if d.Fact == receipt.FactPython || d.Fact == receipt.FactLibPython {
			why = append(why, d.Text)
		}
	}
	if len(why) == 0 {
		return nil
	}
	hint := "build mod_wsgi again: modwsgi install --python " + run.Quote(in.Home)
	if in.fromWheel() {
		hint = "install the wheel that was made for this Python, or build mod_wsgi here: modwsgi install --python " + run.Quote(in.Home)
	}
	return fault.New(fault.Environment, hint, "the mod_wsgi in %s does not fit the Python of %s: %s", in.Packages, in.Home, strings.Join(why, "; "))
}

// pythonToday returns what the files of the environment's interpreter reveal; the
// interpreter is not started. Unknown fields stay empty. On Windows the DLL is looked
// up at each start, in the current Python.
func (in *Environment) pythonToday() receipt.Python {
	unknown := receipt.Python{Prefix: in.Home}
	if !host.BoundPython {
		return unknown
	}
	names := []string{"python3", "python"}
	if Settings(in.Home)["home"] == "" { // several Pythons may share this prefix
		minor := "python" + minorVersion(in.Receipt.Python.Version)
		if in.Receipt.Python.FreeThreaded {
			names = append([]string{minor + "t"}, names...)
		}
		names = append([]string{minor}, names...)
	}
	for _, name := range names {
		exe := filepath.Join(in.Home, "bin", name)
		if info, err := os.Stat(exe); err != nil || !info.Mode().IsRegular() {
			continue
		}
		py, err := IdentifyPython(exe)
		if err != nil {
			return unknown
		}
		now := py.Recorded()
		now.Prefix = in.Home
		return now
	}
	return unknown
}
