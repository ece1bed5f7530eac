package express

import (
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
)

// HideSecrets returns a copy of a command line, and overwrites the values of --setenv
// in the original where the system shows it to other users (ps). Values from a script,
// or from a file that systemd reads, are never on a command line.
func HideSecrets(args []string) []string {
	kept := make([]string, len(args))
	for k, a := range args {
		kept[k] = strings.Clone(a)
	}
	table := config.Table()
	for k := 0; k < len(args); k++ {
		if args[k] == "--" {
			break
		}
		name, ok := strings.CutPrefix(args[k], "--")
		if !ok {
			continue
		}
		name, _, inline := strings.Cut(name, "=")
		if o, _, _ := table.Lookup(name); o != config.Setenv.Option {
			continue
		}
		value := k + 2
		if inline {
			value = k + 1
		}
		if value < len(args) {
			host.Blank(args[value])
		}
		k = value
	}
	return kept
}
