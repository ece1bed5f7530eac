package httpdbuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// Missing is something that every build of httpd needs and that the host lacks.
type Missing struct {
	What    string          `json:"what"` // "ar", "the library crypt (-lcrypt)"
	Program bool            `json:"program,omitempty"`
	Package distro.Packages `json:"package"`
}

// need is a part of the C library, or of a library that distributions split from it.
type need struct {
	what    string
	headers []string
	declare string // declarations for use
	use     string // an expression that refers to a function
	lib     string // the flag that APR, APR-util and httpd link with, if the system has that library
	pkg     distro.Packages
}

const cryptNeed = "the library crypt (-lcrypt)"

// needs is the sum of what the link lines of APR, APR-util, httpd and its support
// programs name, apart from the libraries of features and the built components.
var needs = []need{
	{
		what: "the headers of the C library and the kernel", headers: []string{"errno.h", "limits.h", "sys/types.h", "sys/socket.h", "netinet/in.h", "netdb.h", "unistd.h"},
		use: "getpid()", pkg: distro.LibC,
	},
	{what: "the library of threads (-lpthread)", headers: []string{"pthread.h"}, use: "pthread_create", lib: "-lpthread", pkg: distro.LibC},
	{what: "the library of shared objects (-ldl)", headers: []string{"dlfcn.h"}, use: "dlopen", lib: "-ldl", pkg: distro.LibC},
	{what: "the library of mathematics (-lm)", headers: []string{"math.h"}, use: "(void *)(double (*)(double))sqrt", lib: "-lm", pkg: distro.LibC},
	// glibc no longer contains it, and Debian's compiler no longer depends on it.
	{what: cryptNeed, declare: "char *crypt(const char *, const char *);", use: "crypt", lib: "-lcrypt", pkg: distro.Crypt},
}

// buildCompiler returns a compiler for this machine, for a build for another one: httpd's
// makefiles generate a table with a program that they compile. It returns "" if it finds none.
func buildCompiler(env []string) string {
	for _, name := range []string{"cc", "gcc", "clang"} {
		if path, err := run.LookPath(name, env); err == nil {
			return path
		}
	}
	return ""
}

// program is a C program that refers to everything in list.
func program(list []need) string {
	var b strings.Builder
	for _, n := range list {
		for _, h := range n.headers {
			fmt.Fprintf(&b, "#include <%s>\n", h)
		}
		if n.declare != "" {
			b.WriteString(n.declare + "\n")
		}
	}
	b.WriteString("int main(int argc, char **argv) {\n")
	for _, n := range list {
		// The compiler must not decide at once that no function has the address 0.
		fmt.Fprintf(&b, "\tif ((long)(%s) == argc) return 1;\n", n.use)
	}
	return b.String() + "\treturn argv == 0;\n}\n"
}

// utility is a program that the configure scripts, libtool or the build itself run.
type utility struct {
	names []string // any of them will do
	pkg   distro.Packages
}

// utilities are needed in addition to the compiler, which runs the assembler and the
// linker. make is needed by only one of the drivers.
var utilities = []utility{
	{[]string{"ar"}, distro.Binutils},
	{[]string{"nm"}, distro.Binutils},
	{[]string{"awk", "mawk", "gawk", "nawk"}, distro.Awk},
	{[]string{"sed"}, distro.Sed},
	{[]string{"grep"}, distro.Grep},
	{[]string{"expr"}, distro.Coreutils},
	{[]string{"sort"}, distro.Coreutils},
	{[]string{"tr"}, distro.Coreutils},
	{[]string{"uname"}, distro.Coreutils},
}

// lacks tries in one program everything that a build needs. Only if that fails, it
// tries each part, to name those that are missing. The first error is that of the
// compiler if it failed for another reason.
func (h *Host) lacks(ctx context.Context, r *run.Runner, scratch string) ([]Missing, error) {
	var out []Missing
	for _, u := range utilities {
		if !slices.ContainsFunc(u.names, func(name string) bool {
			_, err := run.LookPath(h.Tool(name), h.Env)
			return err == nil
		}) {
			out = append(out, Missing{u.names[0], true, u.pkg})
		}
	}
	if h.Cross != "" && buildCompiler(h.Env) == "" {
		out = append(out, Missing{"cc", true, distro.Compiler})
	}
	var libs []string
	for _, n := range needs {
		if n.lib != "" {
			libs = append(libs, n.lib)
		}
	}
	if err := h.Try(ctx, r, scratch, "needs", program(needs), libs...); err == nil {
		return out, nil
	} else if toolchain.Starved(err, scratch) != "" {
		return nil, err
	}
	for i, n := range needs {
		name := fmt.Sprintf("need-%d", i)
		var libs []string
		if n.lib != "" {
			libs = append(libs, n.lib)
		}
		err := h.Try(ctx, r, scratch, name, program(needs[i:i+1]), libs...)
		if err != nil && n.lib != "" { // some systems have it in the C library
			err = h.Try(ctx, r, scratch, name, program(needs[i:i+1]))
		}
		if err != nil && toolchain.Starved(err, scratch) != "" {
			return nil, err
		}
		if err != nil {
			out = append(out, Missing{n.what, false, n.pkg})
		}
	}
	return out, ctx.Err()
}

// CheckNeeds returns an error of class Environment if the host lacks something that
// every build of httpd needs and that is not built from source. It names everything that
// is missing, and the command that installs it.
func (h *Host) CheckNeeds(from Libraries) error {
	var programs, others []string
	var packages, here []distro.Packages
	for _, m := range h.Missing {
		if m.What == cryptNeed && h.buildsCrypt(from) {
			continue
		}
		if m.Program {
			programs, here = append(programs, m.What), append(here, m.Package)
		} else {
			others, packages = append(others, m.What), append(packages, m.Package)
		}
	}
	if len(programs)+len(others) == 0 {
		return nil
	}
	var hints []string
	if h.Root == "" {
		packages, here = append(here, packages...), nil
	}
	if len(here) > 0 { // programs run on this machine, whatever they are for
		hints = append(hints, h.InstallHere("", distro.Join(here...), ""))
	}
	if len(packages) > 0 {
		hints = append(hints, h.Install("", distro.Join(packages...), ""))
	}
	var lines []string
	if len(programs) > 0 {
		lines = append(lines, "PATH lacks "+strings.Join(programs, ", "))
	}
	if len(others) > 0 {
		lines = append(lines, "the compiler "+strings.Join(h.CC, " ")+" does not find "+strings.Join(others, ", "))
	}
	err := fault.New(fault.Environment, strings.Join(hints, "; "), "httpd cannot be built on this machine: %s", strings.Join(lines, "; "))
	return h.Needing(err, distro.Join(packages...))
}

// Utilities returns the names of the programs that the result of Probe depends on.
func Utilities() []string {
	var all []string
	for _, u := range utilities {
		all = append(all, u.names...)
	}
	return all
}
