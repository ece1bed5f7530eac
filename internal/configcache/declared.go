package configcache

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// declarations tests all types and members that scripts look for after the same headers
// with one or two runs of the compiler. A group of tests without a result does not affect
// the others.
func (c *Compiler) declarations(ctx context.Context, q Questions, answers map[string]string) error {
	groups := map[string][]string{}
	for _, variable := range slices.Sorted(maps.Keys(q.Declared)) {
		includes := q.Declared[variable].Includes
		groups[includes] = append(groups[includes], variable)
	}
	for _, includes := range slices.Sorted(maps.Keys(groups)) {
		if err := unanswered(ctx, c.declared(ctx, groups[includes], q, answers)); err != nil {
			return err
		}
	}
	return nil
}

// declared tests one group. What compiles together also compiles alone. What does not is
// omitted in a second run, which must succeed. Only a missing member is a result then:
// another error may have another reason.
func (c *Compiler) declared(ctx context.Context, variables []string, q Questions, answers map[string]string) error {
	wrong, err := c.undeclared(ctx, variables, q)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(slices.Clone(variables), func(v string) bool { _, ok := wrong[v]; return ok })
	if len(wrong) > 0 && len(there) > 0 {
		if again, err := c.undeclared(ctx, there, q); err != nil || len(again) > 0 {
			return err
		}
	}
	for _, v := range there {
		answers[v] = "yes"
	}
	for v, member := range wrong {
		if member != "" && slices.Contains(strings.Split(q.Declared[v].Member, "."), member) {
			answers[v] = "no"
		}
	}
	return nil
}

var (
	compileError = regexp.MustCompile(`(?m)^(.*?): (?:fatal )?error: (.*)$`)
	inTest       = regexp.MustCompile(`^test_(\d+):[\d:]+$`)
	noMember     = regexp.MustCompile(`no member named '(\w+)'`)
)

// undeclared compiles the tests of variables, and returns those with errors: the name of
// the missing member, or "" for all other errors. Errors elsewhere are the error.
func (c *Compiler) undeclared(ctx context.Context, variables []string, q Questions) (map[string]string, error) {
	var b strings.Builder
	b.WriteString(q.Declared[variables[0]].Includes)
	for i, v := range variables {
		d := q.Declared[v]
		// The compiler names the file in its errors.
		fmt.Fprintf(&b, "#line 1 \"test_%d\"\n", i)
		if d.Member == "" {
			// For a script, a name is a type if it has a size, and is not a variable.
			fmt.Fprintf(&b, "typedef %s a_type_%d; int function_%d(void) { return sizeof (%s) == 0; }\n", d.Type, i, i, d.Type)
		} else {
			fmt.Fprintf(&b, "int function_%d(void) { static %s whole; return sizeof whole.%s == 0; }\n", i, d.Type, d.Member)
		}
	}
	if err := c.write("declared.c", b.String()); err != nil {
		return nil, err
	}
	said, err := c.run(ctx, "-fsyntax-only", "declared.c")
	if err == nil {
		return nil, nil
	}
	wrong := map[string]string{}
	for _, m := range compileError.FindAllStringSubmatch(said, -1) {
		at := inTest.FindStringSubmatch(m[1])
		if at == nil {
			return nil, err
		}
		i, scan := strconv.Atoi(at[1])
		if scan != nil || i >= len(variables) {
			return nil, err
		}
		member := ""
		if missing := noMember.FindStringSubmatch(m[2]); missing != nil {
			member = missing[1]
		}
		if before, ok := wrong[variables[i]]; ok && before != member {
			member = ""
		}
		wrong[variables[i]] = member
	}
	if len(wrong) == 0 {
		return nil, err
	}
	return wrong, nil
}
