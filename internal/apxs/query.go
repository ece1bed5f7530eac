package apxs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strings"
)

// Main runs mod_wsgi-apxs and returns the exit code. args are its arguments without its
// name, and programs the absolute paths by which it may have been started, most likely
// first.
func Main(args, programs []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		_, _ = io.WriteString(stdout, usage)
		return 0
	}
	names, verbose, err := arguments(args)
	if err != nil {
		say(stderr, "%v", err)
		_, _ = io.WriteString(stderr, usage)
		return 1
	}
	root, err := findFirst(programs)
	if err != nil {
		say(stderr, "no bundled httpd was found beside this program: run modwsgi install (%v)", err)
		return 1
	}
	vars, err := Load(root)
	if err != nil {
		say(stderr, "%v", err)
		return 1
	}
	if len(names) == 0 {
		printAll(vars, verbose, stdout)
		return 0
	}
	values := make([]string, 0, len(names))
	for _, name := range names {
		value, ok := Answer(vars, root, name)
		if !ok {
			say(stderr, "Invalid query string `%s'", name)
			return 1
		}
		values = append(values, value)
	}
	if _, err := fmt.Fprintln(stdout, strings.Join(values, ";;")); err != nil {
		say(stderr, "%v", err)
		return 1
	}
	return 0
}

// findFirst returns the tree of the first program that has one.
func findFirst(programs []string) (root string, err error) {
	err = errors.New("own path unknown")
	for _, program := range programs {
		if root, err = Find(program); err == nil {
			return root, nil
		}
	}
	return "", err
}

const usage = "Usage: mod_wsgi-apxs -q [-v] [<query> ...]\n" +
	"This program only answers queries about the httpd in its Python environment.\n" +
	"To build modules, run: modwsgi install\n"

// say writes an error in the format of apxs.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "apxs:Error: "+format+".\n", args...)
}

// arguments parses -q, -v and -qv, also as separate or repeated options.
func arguments(args []string) (names []string, verbose bool, err error) {
	query := false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "--" {
			args = args[1:]
			break
		}
		for _, c := range args[0][1:] {
			switch c {
			case 'q':
				query = true
			case 'v':
				verbose = true
			case 'c', 'i', 'g', 'e', 'a', 'A', 'n', 'o', 'D', 'I', 'L', 'l', 'W', 'S', 'p':
				return nil, false, fmt.Errorf("option -%c is not supported; use -q", c)
			default:
				return nil, false, fmt.Errorf("unknown option: %c", c)
			}
		}
		args = args[1:]
	}
	if !query {
		return nil, false, errors.New("nothing to do without -q")
	}
	return args, verbose, nil
}

// Answer returns the answer of apxs -q to one name: a variable of the file, or one of the
// names that apxs computes. EXTRA_INCLUDES omits flags whose directory contains white
// space, because callers split the answer at white space. INCLUDEDIR, which is used as a
// whole, has the same headers.
func Answer(vars Vars, root, name string) (string, bool) {
	if strings.ToUpper(name) == "EXTRA_INCLUDES" {
		return strings.Join(withoutSpace(vars.Words("EXTRA_INCLUDES")), " "), true
	}
	if value, ok := vars.Lookup(name); ok {
		return value, true
	}
	switch name {
	case "TARGET":
		return vars.Lookup("progname")
	case "PREFIX":
		return root, true
	case "CFLAGS_SHLIB", "LD_SHLIB", "LDFLAGS_SHLIB", "LIBS_SHLIB":
		return "", true
	case "MPM_NAME":
		return MPMName(vars), true
	case "SHLIBPATH_VAR":
		return "LD_LIBRARY_PATH", true
	}
	return "", false
}

func withoutSpace(words []string) []string {
	out := words[:0]
	for _, w := range words {
		if !strings.ContainsAny(w, " \t\n") {
			out = append(out, w)
		}
	}
	return out
}

// MPMName returns the default multi-processing module: the first of event, worker and
// prefork in the modules directory, or "" if none exists.
func MPMName(vars Vars) string {
	dir, _ := vars.Lookup("LIBEXECDIR")
	for _, mpm := range []string{"event", "worker", "prefork"} {
		if dir != "" && isFile(filepath.Join(dir, "mod_mpm_"+mpm+".so")) {
			return mpm
		}
	}
	return ""
}

// printAll writes every variable, expanded. Upstream's apxs prints them unexpanded, which
// does not show where the tree is.
func printAll(vars Vars, pretty bool, w io.Writer) {
	names := make([]string, 0, len(vars))
	width := 0
	for name := range vars {
		names = append(names, name)
		width = max(width, len(name))
	}
	sort.Slice(names, func(i, j int) bool { return strings.ToUpper(names[i]) < strings.ToUpper(names[j]) })
	for _, name := range names {
		value := vars.Expand(vars[name])
		if pretty {
			_, _ = fmt.Fprintf(w, "%-*s = %s\n", width, name, value)
		} else {
			_, _ = fmt.Fprintf(w, "%s=%s\n", name, value)
		}
	}
}
