package configcache

import (
	"regexp"
	"strings"
)

var (
	headerCall   = regexp.MustCompile(`ac_fn_c_check_header_compile "\$LINENO" (\S+) (\S+) (.*)`)
	functionCall = regexp.MustCompile(`ac_fn_c_check_func "\$LINENO" "(\w+)" "(ac_cv_func_\w+)"`)
	sizeCall     = regexp.MustCompile(`ac_fn_c_compute_int "\$LINENO" "\(long int\) \(sizeof \(([\w *]+)\)\)" "(ac_cv_sizeof_\w+)"\s+(.*)`)
	basicHeader  = regexp.MustCompile(`as_fn_append ac_header_c_list " ([\w./]+) (\w+) (HAVE_\w+)`)
	// These span lines.
	typeCall    = regexp.MustCompile(`ac_fn_c_check_type "\$LINENO" "([\w *]+)" "(ac_cv_type_\w+)" "([^"]*)"`)
	memberCall  = regexp.MustCompile(`ac_fn_c_check_member "\$LINENO" "([\w *]+)" "([\w.]+)" "(ac_cv_member_\w+)" "([^"]*)"`)
	searchStart = regexp.MustCompile(`(?m)^ *(?:e\) )?ac_func_search_save_LIBS=\$LIBS$`)
	libraryTest = regexp.MustCompile(`if test \$\{(ac_cv_lib_\w+)\+y\}\nthen :\n.*\nelse.*\n *(?:e\) )?ac_check_lib_save_LIBS=\$LIBS\nLIBS="-l([\w.+-]+) `)
	// What a search for a library contains.
	searchedFunction = regexp.MustCompile(`(?m)^char (\w+) \((?:void)?\);$`)
	searchVariable   = regexp.MustCompile(`(?m)^ *ac_cv_search_(\w+)=\$ac_res$`)
	include          = regexp.MustCompile(`^# *include <([\w./+-]+)>$`)
	condition        = regexp.MustCompile(`^# *ifdef (HAVE_\w+)$`)
)

// usual is how a script refers to the default headers, which it includes before the
// tested one.
const usual = `"$ac_includes_default"`

// Scan finds the tests of a script whose form is unambiguous.
func Scan(script string) Questions {
	q := Questions{
		Headers: map[string]string{}, Functions: map[string]string{}, Sizes: map[string]string{},
		Searches: map[string]string{}, Libraries: map[string]string{}, Declared: map[string]Declaration{},
	}
	doubtful := map[string]bool{}
	basic := map[string]string{} // HAVE_UNISTD_H -> unistd.h
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if m := headerCall.FindStringSubmatch(line); m != nil {
			name, variable := strings.Trim(m[1], `"`), strings.Trim(m[2], `"`)
			if strings.Contains(m[1]+m[2], "$") {
				continue
			}
			if m[3] != usual {
				doubtful[variable] = true
			}
			q.Headers[variable] = name
		}
		if m := basicHeader.FindStringSubmatch(line); m != nil {
			q.Headers["ac_cv_header_"+m[2]] = m[1]
			basic[m[3]] = m[1]
		}
		if m := functionCall.FindStringSubmatch(line); m != nil {
			q.Functions[m[2]] = m[1]
		}
		if m := sizeCall.FindStringSubmatch(line); m != nil {
			if m[3] != usual && !strings.HasPrefix(m[3], usual+";") {
				doubtful[m[2]] = true
			}
			q.Sizes[m[2]] = m[1]
		}
	}
	q.scanDeclarations(script, basic, doubtful)
	q.scanLibraries(script, doubtful)
	return q.filter(func(variable string) bool { return !doubtful[variable] })
}

// scanDeclarations finds tests for types and members. The default headers have been
// tested before, so their macros are known: each is defined if the header exists.
func (q Questions) scanDeclarations(script string, basic map[string]string, doubtful map[string]bool) {
	tested := strings.Index(script, "for ac_item in $ac_header_c_list")
	found := func(at int, variable, includes string, d Declaration) {
		ok := tested >= 0 && at > tested
		if ok {
			d.Includes, ok = source(includes, basic)
		}
		if known, twice := q.Declared[variable]; !ok || twice && known != d {
			doubtful[variable] = true
		}
		q.Declared[variable] = d
	}
	for _, at := range typeCall.FindAllStringSubmatchIndex(script, -1) {
		m := typeCall.FindStringSubmatch(script[at[0]:at[1]])
		found(at[0], m[2], m[3], Declaration{Type: m[1]})
	}
	for _, at := range memberCall.FindAllStringSubmatchIndex(script, -1) {
		m := memberCall.FindStringSubmatch(script[at[0]:at[1]])
		found(at[0], m[3], m[4], Declaration{Type: m[1], Member: m[2]})
	}
}

// source converts the headers that a test includes to C source. It accepts only headers
// that are included always, or if one of the default headers exists.
func source(text string, basic map[string]string) (c string, ok bool) {
	var b strings.Builder
	open := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		m, guard := include.FindStringSubmatch(line), condition.FindStringSubmatch(line)
		switch {
		case line == "":
		case line == strings.Trim(usual, `"`):
			b.WriteString(includes())
		case m != nil:
			b.WriteString("#include <" + m[1] + ">\n")
		case guard != nil && basic[guard[1]] != "":
			b.WriteString("#if __has_include(<" + basic[guard[1]] + ">)\n")
			open++
		case line == "#endif" && open > 0:
			b.WriteString(line + "\n")
			open--
		default:
			return "", false
		}
	}
	return b.String(), open == 0
}

// scanLibraries finds searches for a library with a function, which start without a
// library, and tests of a function in one library.
func (q Questions) scanLibraries(script string, doubtful map[string]bool) {
	for _, at := range searchStart.FindAllStringIndex(script, -1) {
		text, _, _ := strings.Cut(script[at[1]:], "LIBS=$ac_func_search_save_LIBS")
		function, variable := searchedFunction.FindStringSubmatch(text), searchVariable.FindStringSubmatch(text)
		if function != nil && variable != nil && function[1] == variable[1] && strings.Contains(text, "\nfor ac_lib in '' ") {
			q.Searches["ac_cv_search_"+variable[1]] = function[1]
		}
	}
	for _, m := range libraryTest.FindAllStringSubmatch(script, -1) {
		if known, twice := q.Libraries[m[1]]; twice && known != m[2] {
			doubtful[m[1]] = true
		}
		q.Libraries[m[1]] = m[2]
	}
}
