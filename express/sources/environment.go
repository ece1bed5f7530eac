package sources

import (
	"regexp"
	"slices"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/settingsfile"
	"modwsgi/internal/tomlfile"
)

// variables returns the settings of the environment.
func (r *Reader) variables() (settings []option.Setting) {
	seen := map[*option.Option]string{}
	for _, kv := range r.Env {
		name, value, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(name, Prefix)
		if !ok || rest == "" || links.MatchString(rest) || strings.Contains(value, "://") && link.MatchString(value) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		o, why := r.usable(key)
		switch {
		case o == config.Config.Row():
			continue // file has read it
		case o == nil || rest != strings.ToUpper(rest):
			text := name + " is ignored: mod_wsgi-express has no such option"
			if near := settingsfile.Nearest(key, r.names()); near != "" {
				text += "; did you mean " + Variable(near) + "?"
			}
			r.Warn(text)
			continue
		case why != "":
			r.problems.Add(0, "%s: %s %s", name, o.Name, why)
			continue
		}
		uses, err := r.worded(o, value)
		if err != "" {
			r.problems.Add(0, "%s: %s", name, err)
			continue
		}
		if before := seen[o]; before != "" && before != name {
			r.problems.Add(0, "%s and %s are for the same option: unset one", before, name)
			continue
		}
		seen[o] = name
		if r.wants(o) {
			settings = append(without(settings, o), option.Setting{Option: o, Uses: uses, Name: o.Name, Source: option.Place{Name: name}})
		}
	}
	return settings
}

// Container platforms describe a service that is called modwsgi-express with variables of
// these names, and addresses as values
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var (
	links = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)$`)
	link  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// wants reports whether a command needs an option. Those that ask for a server only look
// for it.
func (r *Reader) wants(o *option.Option) bool {
	if !r.Command.Has(config.EntryPoint) && !option.Same(o, config.ServerRoot) && !option.Same(o, config.Host) && !option.Same(o, config.Port) {
		return false
	}
	return r.Command.Has(o)
}

// lookup returns the value of a variable.
func lookup(env []string, name string) (string, bool) {
	value, found := "", false
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value, found = v, true
		}
	}
	return value, found
}

// worded returns the uses of an option for a variable's value, or what is wrong with it.
func (r *Reader) worded(o *option.Option, value string) (uses [][]string, wrong string) {
	lower := strings.ToLower(value)
	switch {
	case o.Kind == option.KindFlag && slices.Contains(settingsfile.Yes, lower):
		return [][]string{{}}, ""
	case o.Kind == option.KindFlag && slices.Contains(settingsfile.No, lower):
		return nil, ""
	case o.Kind == option.KindFlag:
		return nil, quoted(value) + " is not one of 1, true, yes, on, 0, false, no, off"
	case value == "":
		return nil, "the value is empty: unset the variable, or set the one that the value comes from"
	case !o.Repeatable || o.Values == 1 && !strings.HasPrefix(value, "["):
		return [][]string{{value}}, ""
	}
	doc, err := tomlfile.Parse("value = " + value + "\n")
	if err != nil || len(doc.Entries) != 1 {
		return nil, quoted(value) + " is not " + r.wanted(o) + " in TOML"
	}
	uses, p := r.uses(o, doc.Entries[0].Value, "")
	return uses, p.Text
}
