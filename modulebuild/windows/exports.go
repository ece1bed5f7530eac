package windows

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// declared lists the functions and variables that headers declare, by the prefix of
// the declaring macro.
type declared struct {
	functions map[string]map[string]bool // "AP" -> names
	variables map[string]map[string]bool
}

// prefixes maps libraries to the macros that declare their names.
func prefixOf(dll string) string {
	switch dll {
	case "libhttpd.dll":
		return "AP"
	case "libapr-1.dll":
		return "APR"
	case "libaprutil-1.dll":
		return "APU"
	}
	return "Py"
}

// unlisted are functions that a module uses although no public header declares them.
var unlisted = map[string][]string{
	"APR": {"apr_conv_utf8_to_ucs2", "apr_conv_ucs2_to_utf8"}, // APR's arch/win32/apr_arch_utf8.h
}

// of returns the names declared for a library: all names, sorted, and those of
// variables.
func (d *declared) of(dll string) (names, data []string) {
	prefix := prefixOf(dll)
	for name := range d.functions[prefix] {
		names = append(names, name)
	}
	for name := range d.variables[prefix] {
		data = append(data, name)
	}
	if len(names)+len(data) > 0 {
		names = append(names, unlisted[prefix]...)
	}
	names = append(names, data...)
	slices.Sort(names)
	slices.Sort(data)
	return slices.Compact(names), data
}

var (
	comments   = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	directives = regexp.MustCompile(`(?m)^[ \t]*#(?:[^\n]*\\\r?\n)*[^\n]*$`)
	// The beginnings of declarations. The other patterns are matched from there on, on
	// at most longest bytes: on whole headers they would take seconds.
	begins = regexp.MustCompile(`\b(?:AP|APR|APU)_(?:CORE_|POOL_)?DECLARE\w*|\bPyAPI_(?:FUNC|DATA)`)
	// A function: the macro with the type in parentheses, which may nest, then the
	// name and its parameters.
	functionMacro = regexp.MustCompile(`^(AP|APR|APU|Py)(?:_CORE)?(?:_DECLARE(?:_NONSTD)?|API_FUNC)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*(?:\*\s*)*([A-Za-z_]\w*)\s*\(`)
	// Variables: the macro after or before the type (which may have parentheses
	// around it), then names, with an array's bounds, as pointers to functions.
	dataMacro   = regexp.MustCompile(`^(?:(AP|APR|APU)_DECLARE_DATA|(Py)API_DATA\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))\s*([^;{}=]*)[;=]`)
	declarator  = regexp.MustCompile(`\(\s*\*\s*([A-Za-z_]\w*)\s*\)\s*\(|([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)*$`)
	hookMacro   = regexp.MustCompile(`^AP_DECLARE_HOOK\s*\(\s*(?:[^(),]|\([^()]*\))*,\s*(\w+)\s*,`)
	accessMacro = regexp.MustCompile(`^APR_POOL_DECLARE_ACCESSOR\s*\(\s*(\w+)\s*\)`)
	outerHook   = regexp.MustCompile(`^APR_DECLARE_EXTERNAL_HOOK\s*\(\s*(\w+)\s*,\s*(AP|APR|APU)\s*,[^,]*,\s*(\w+)\s*,`)
	// An alias, as PY_SSIZE_T_CLEAN makes it: a declaration of the first name then
	// declares the second.
	alias = regexp.MustCompile(`(?m)^[ \t]*#[ \t]*define[ \t]+(Py\w+)[ \t]+(_Py\w+)[ \t]*\r?$`)
)

const longest = 2000 // limit in bytes of a declaration

// declarations reads the headers in some directories.
func declarations(dirs []string) (*declared, error) {
	d := &declared{functions: map[string]map[string]bool{}, variables: map[string]map[string]bool{}}
	for _, dir := range dirs {
		headers, err := headersBelow(dir)
		if err != nil {
			return nil, err
		}
		for _, path := range headers {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			d.read(string(text))
		}
	}
	return d, nil
}

func (d *declared) read(text string) {
	if !strings.Contains(text, "_DECLARE") && !strings.Contains(text, "PyAPI_") {
		return
	}
	text = comments.ReplaceAllString(text, " ")
	aliases := alias.FindAllStringSubmatch(text, -1)
	text = directives.ReplaceAllString(text, "")
	for _, at := range begins.FindAllStringIndex(text, -1) {
		d.one(text[at[0]:min(at[0]+longest, len(text))])
	}
	for _, m := range aliases {
		if d.functions["Py"][m[1]] {
			d.add(d.functions, "Py", m[2])
		}
	}
}

// one reads the declaration at the beginning of a text.
func (d *declared) one(text string) {
	if m := functionMacro.FindStringSubmatch(text); m != nil {
		d.add(d.functions, m[1], m[2])
	} else if m := dataMacro.FindStringSubmatch(text); m != nil {
		for part := range strings.SplitSeq(m[3], ",") {
			if n := declarator.FindStringSubmatch(strings.TrimSpace(part)); n != nil {
				d.add(d.variables, m[1]+m[2], n[1]+n[2])
			}
		}
	} else if m := hookMacro.FindStringSubmatch(text); m != nil {
		d.hook("AP", "ap", m[1])
	} else if m := outerHook.FindStringSubmatch(text); m != nil {
		d.hook(m[2], m[1], m[3])
	} else if m := accessMacro.FindStringSubmatch(text); m != nil {
		d.add(d.functions, "APR", "apr_"+m[1]+"_pool_get")
	}
}

func (d *declared) add(to map[string]map[string]bool, prefix string, names ...string) {
	if to[prefix] == nil {
		to[prefix] = map[string]bool{}
	}
	for _, name := range names {
		to[prefix][name] = true
	}
}

func (d *declared) hook(prefix, namespace, name string) {
	d.add(d.functions, prefix, namespace+"_hook_"+name, namespace+"_run_"+name, namespace+"_hook_get_"+name)
}
