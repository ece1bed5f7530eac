package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/httpdbuild"
	"modwsgi/installer"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/settingsfile"
)

// given is what a file sets a flag to.
type given struct {
	key    string
	line   int
	values []string
}

// readSettings reads the keys of a file, which are the flags of install. The error names
// every mistake, also in what the command line replaces.
func readSettings(file *settingsfile.File, install *pflag.FlagSet) (all []given, err error) {
	known := func(name string) bool { return install.Lookup(name) != nil || oneRun[name] != "" }
	var keys []string
	install.VisitAll(func(f *pflag.Flag) {
		if oneRun[f.Name] == "" {
			keys = append(keys, f.Name)
		}
	})
	var problems settingsfile.Problems
	for _, e := range file.Table.Entries {
		at := file.At(e.Line)
		switch {
		case oneRun[e.Key] != "":
			problems.Add(e.Line, "%s: %s %s", at, e.Key, oneRun[e.Key])
			continue
		case !known(e.Key):
			problems.Add(e.Line, "%s: %s", at, file.Unknown(e.Key, known, keys))
			continue
		}
		values, wrong := worded(install.Lookup(e.Key), e.Value)
		if wrong == "" {
			wrong = checkSetting(install.Lookup(e.Key), values)
		}
		if wrong != "" {
			problems.Add(e.Line, "%s: %s: %s", at, e.Key, wrong)
			continue
		}
		for i := range values {
			values[i] = beside(e.Key, values[i], file.Dir())
		}
		all = append(all, given{e.Key, e.Line, values})
	}
	return all, problems.Err(settingsHint)
}

// shapeOf returns the shape of a flag's values in TOML, and its description.
func shapeOf(flag *pflag.Flag) (settingsfile.Shape, string) {
	shape := settingsfile.Text
	switch flag.Value.Type() {
	case "bool":
		shape = settingsfile.Toggle
	case "stringSlice", "stringArray":
		shape = settingsfile.Texts
	case jobs{}.Type():
		return settingsfile.Number, `a whole number or "auto"`
	}
	return shape, shape.Wanted()
}

// worded returns the value of a setting in the words of the command line, or what is wrong
// with it.
func worded(flag *pflag.Flag, value any) (words []string, wrong string) {
	shape, wanted := shapeOf(flag)
	number := shape == settingsfile.Number
	text, isText := value.(string)
	whole, isWhole := value.(int64)
	toggle, isToggle := value.(bool)
	list, isList := value.([]any)
	switch {
	case isToggle && shape == settingsfile.Toggle:
		return []string{strconv.FormatBool(toggle)}, ""
	case isWhole && number:
		return []string{strconv.FormatInt(whole, 10)}, ""
	case isText && (shape == settingsfile.Text || shape == settingsfile.Texts || number && text == "auto"):
		return split(flag, []string{text})
	case !isList || shape != settingsfile.Texts:
		return nil, "must be " + wanted + ", not " + settingsfile.Kind(value) + settingsfile.Cure(shape, value)
	}
	for i, element := range list {
		text, ok := element.(string)
		if !ok {
			return nil, fmt.Sprintf("element %d must be a string, not %s%s", i+1, settingsfile.Kind(element), settingsfile.Cure(settingsfile.Text, element))
		}
		words = append(words, text)
	}
	return split(flag, words)
}

// split takes lists with commas apart where the command line does, and refuses what cannot
// be a value.
func split(flag *pflag.Flag, texts []string) (words []string, wrong string) {
	for _, text := range texts {
		parts := []string{text}
		if flag.Value.Type() == "stringSlice" {
			parts = strings.Split(text, ",")
		}
		for _, part := range parts {
			part = strings.TrimSpace(part)
			switch {
			case part == "":
				return nil, "the value is empty: write one, or remove it"
			case strings.ContainsRune(part, 0):
				return nil, "the value contains a NUL character"
			}
			words = append(words, part)
		}
	}
	return words, ""
}

// checkSetting returns what is wrong with a value as install would see it, as far as that
// needs no look at the machine.
func checkSetting(flag *pflag.Flag, values []string) string {
	var w installer.Wish
	var err error
	switch first := append(values, "")[0]; flag.Name {
	case "httpd-version":
		w.HTTPDVersion = first
	case "mod-wsgi-version":
		w.ModWSGIVersion = first
	case "libraries":
		w.Libraries = first
	case "hardening":
		w.Hardening = first
	case "build-driver":
		w.BuildDriver = first
	case "with", "without":
		err = httpdbuild.CheckNames(values, nil)
	case "jobs":
		err = flag.Value.Set(first)
	case "cache-max-age":
		if first != "none" {
			_, err = cachedir.ParseAge(first)
		}
	}
	if err == nil {
		err = w.Check()
	}
	if err == nil {
		return ""
	}
	text := strings.ReplaceAll(err.Error(), "--"+flag.Name, flag.Name)
	text = strings.TrimPrefix(strings.TrimPrefix(text, flag.Name+": "), flag.Name+" ")
	if hint := fault.HintOf(err); hint != "" {
		text += ": " + strings.ReplaceAll(hint, "--"+flag.Name+` "`, flag.Name+` = "`)
	}
	return text
}

// layout begins the address of a shared cache that is a directory.
const layout = "oci-layout:"

// beside makes a path in a file absolute: it is relative to the file's directory.
func beside(key, value, dir string) string {
	prefix := ""
	switch key {
	case "httpd":
		if slices.Contains([]string{"auto", "bundled", "system"}, value) {
			return value
		}
	case "cache":
		rest, ok := strings.CutPrefix(value, layout)
		if !ok {
			return value
		}
		prefix, value = layout, rest
	case "cache-trust":
		if strings.HasPrefix(value, "-----BEGIN") { // the key itself
			return value
		}
	case "source-dir", "lock-file":
	default:
		return value
	}
	if !filepath.IsAbs(value) {
		value = filepath.Join(dir, value)
	}
	return prefix + value
}

// set sets a flag as the command line would, without marking it as given there.
func set(flag *pflag.Flag, values []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.Replace(values)
	}
	return flag.Value.Set(values[0])
}

// opposites are lists of which the command line's replaces a name in the file's.
var opposites = map[string]string{"with": "without", "without": "with"}

// unless returns the values without features that the command line puts into the opposite
// list.
func unless(c *cobra.Command, one given) []string {
	flag := c.Flags().Lookup(opposites[one.key])
	if flag == nil || !flag.Changed {
		return one.values
	}
	chosen := splitList(flag.Value.(pflag.SliceValue).GetSlice())
	return slices.DeleteFunc(slices.Clone(one.values), func(name string) bool { return slices.Contains(chosen, name) })
}
