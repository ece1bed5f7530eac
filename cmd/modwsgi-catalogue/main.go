// Command modwsgi-catalogue makes and signs a repository of catalogues that modwsgi
// catalogue update reads. Its users run such a repository: see
// docs/concepts/catalogue.md. The result is static files.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

const usage = `modwsgi-catalogue keygen KEYS                  new keys for every role, in a new directory
modwsgi-catalogue init REPOSITORY KEYS         a new repository; prints the root of trust
modwsgi-catalogue publish REPOSITORY KEYS      sign and publish this program's catalogue, or the
                                               one in the directory of --sources
modwsgi-catalogue renew REPOSITORY KEYS        sign the timestamp again; needs timestamp.pem only
modwsgi-catalogue rotate REPOSITORY KEYS NEW   a new root: valid anew, with the keys in NEW for the
                                               roles that have one there (NEW may be KEYS)
`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "modwsgi-catalogue: error: %v\n", err)
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintf(os.Stderr, "modwsgi-catalogue: hint: %s\n", hint)
		}
		os.Exit(1)
	}
}

// command runs one of the commands. Flags come before its arguments.
func command(args []string) error {
	arity := map[string]int{"keygen": 1, "init": 2, "publish": 2, "renew": 2, "rotate": 3}
	if len(args) == 0 || arity[args[0]] == 0 {
		return fmt.Errorf("these are the commands:\n%s", usage)
	}
	for _, dir := range owned.Vouch(os.Getenv(owned.TrustedVariable)) {
		fmt.Fprintf(os.Stderr, "modwsgi-catalogue: %s: %s does not exist or is not an absolute path\n", owned.TrustedVariable, dir)
	}
	f := flag.NewFlagSet("modwsgi-catalogue "+args[0], flag.ContinueOnError)
	threshold := f.Int("threshold", 0, "init, rotate: how many keys of root must sign a root (default 1, or as before)")
	rootDays := f.Int("root-days", int(publish.Default.Root/publish.Day), "how long a root is valid")
	catalogueDays := f.Int("catalogue-days", int(publish.Default.Catalogue/publish.Day), "how long a catalogue is valid")
	timestampDays := f.Int("timestamp-days", int(publish.Default.Timestamp/publish.Day), "how long a timestamp is valid")
	sources := f.String("sources", "", "publish: directory with sources.toml, support.toml and advisories/")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if f.NArg() != arity[args[0]] || *rootDays < 1 || *catalogueDays < 1 || *timestampDays < 1 || *threshold < 0 {
		return fmt.Errorf("these are the commands:\n%s", usage)
	}
	if args[0] == "keygen" {
		return publish.NewKeys(f.Arg(0))
	}
	keys, err := publish.ReadKeys(f.Arg(1))
	if err != nil {
		return err
	}
	r := &publish.Repository{Dir: f.Arg(0), Now: time.Now, Lives: publish.Lifetimes{
		Root: time.Duration(*rootDays) * publish.Day, Catalogue: time.Duration(*catalogueDays) * publish.Day, Timestamp: time.Duration(*timestampDays) * publish.Day,
	}}
	switch args[0] {
	case "init":
		return printed(r.Init(keys, max(1, *threshold)))
	case "publish":
		d, err := document(*sources)
		if err != nil {
			return err
		}
		return r.Publish(keys, d)
	case "renew":
		return r.Renew(keys)
	default:
		newKeys, err := publish.ReadKeys(f.Arg(2))
		if err != nil {
			return err
		}
		return printed(r.Rotate(keys, newKeys, *threshold))
	}
}

func printed(path string, err error) error {
	if err == nil {
		_, err = fmt.Println(path)
	}
	return err
}

// document is the catalogue in a directory, or the one in this program.
func document(dir string) (*recipe.Document, error) {
	if dir == "" {
		return recipe.EmbeddedDocument(), nil
	}
	sources, err := os.ReadFile(filepath.Join(dir, "sources.toml"))
	support, serr := os.ReadFile(filepath.Join(dir, "support.toml"))
	if err = errors.Join(err, serr); err != nil {
		return nil, err
	}
	d, err := recipe.ReadDocument(string(sources), string(support), os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	return recipe.ParseDocument(d.Encode()) // with every check
}
