// Command modwsgi-catalogue is for those who run a repository of catalogues: it makes and
// signs the static files that modwsgi catalogue update reads (docs/concepts/catalogue.md),
// and looks for new versions upstream (docs/contributing/catalogue.md).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/catalogue/refresh"
	"modwsgi/internal/debian"
	"modwsgi/internal/fault"
	"modwsgi/internal/fetch"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

const usage = `modwsgi-catalogue keygen KEYS                  new keys for every role, in a new directory
modwsgi-catalogue init REPOSITORY KEYS         a new repository; prints the root of trust
modwsgi-catalogue publish REPOSITORY KEYS      sign and publish this program's catalogue, or the
                                               one in the directory of -sources
modwsgi-catalogue renew REPOSITORY KEYS        sign the timestamp again; needs timestamp.pem only
modwsgi-catalogue rotate REPOSITORY KEYS NEW   a new root: valid anew, with the keys in NEW for the
                                               roles that have one there (NEW may be KEYS)
modwsgi-catalogue refresh SOURCES              look for new versions and advisories upstream, and edit
                                               the files in SOURCES (internal/recipe)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "modwsgi-catalogue: error: %v\n", err)
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintf(os.Stderr, "modwsgi-catalogue: hint: %s\n", hint)
		}
		os.Exit(1)
	}
}

// command runs one of the commands. Flags come before its arguments.
func command(ctx context.Context, args []string) error {
	arity := map[string]int{"keygen": 1, "init": 2, "publish": 2, "renew": 2, "rotate": 3, "refresh": 1}
	if len(args) == 0 || arity[args[0]] == 0 {
		return fmt.Errorf("these are the commands:\n%s", usage)
	}
	for _, dir := range owned.Vouch(os.Getenv(owned.TrustedVariable)) {
		fmt.Fprintf(os.Stderr, "modwsgi-catalogue: %s: %s does not exist or is not an absolute path\n", owned.TrustedVariable, dir)
	}
	return perform(ctx, args[0], args[1:], arity[args[0]])
}

// perform reads the flags of a command and runs it.
func perform(ctx context.Context, name string, args []string, arity int) error {
	f := flag.NewFlagSet("modwsgi-catalogue "+name, flag.ContinueOnError)
	threshold := f.Int("threshold", 0, "init, rotate: how many keys of root must sign a root (default 1, or as before)")
	rootDays := f.Int("root-days", int(publish.Default.Root/publish.Day), "how long a root is valid")
	catalogueDays := f.Int("catalogue-days", int(publish.Default.Catalogue/publish.Day), "how long a catalogue is valid")
	timestampDays := f.Int("timestamp-days", int(publish.Default.Timestamp/publish.Day), "how long a timestamp is valid")
	sources := f.String("sources", "", "publish: directory with sources.toml, support.toml and advisories/")
	dry := f.Bool("n", false, "refresh: write nothing")
	suite := f.String("suite", "sid", "refresh: suite of Debian")
	mirror := f.String("debian", fetch.DebianArchive, "refresh: mirror of Debian")
	var skip []string
	f.Func("skip", "refresh: leave out a version or an advisory, as in 'httpd 2.4.72' (repeatable)", func(item string) error {
		skip = append(skip, item)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != arity || *rootDays < 1 || *catalogueDays < 1 || *timestampDays < 1 || *threshold < 0 {
		return fmt.Errorf("these are the commands:\n%s", usage)
	}
	switch name {
	case "keygen":
		return publish.NewKeys(f.Arg(0))
	case "refresh":
		return refreshed(ctx, f.Arg(0), *mirror, *suite, skip, *dry)
	}
	r := &publish.Repository{Dir: f.Arg(0), Now: time.Now, Lives: publish.Lifetimes{
		Root: time.Duration(*rootDays) * publish.Day, Catalogue: time.Duration(*catalogueDays) * publish.Day, Timestamp: time.Duration(*timestampDays) * publish.Day,
	}}
	return sign(r, name, f.Args(), *threshold, *sources)
}

// sign runs a command that signs something in a repository.
func sign(r *publish.Repository, name string, args []string, threshold int, sources string) error {
	keys, err := publish.ReadKeys(args[1])
	if err != nil {
		return err
	}
	switch name {
	case "init":
		return printed(r.Init(keys, max(1, threshold)))
	case "publish":
		d, err := document(sources)
		if err != nil {
			return err
		}
		return r.Publish(keys, d)
	case "renew":
		return r.Renew(keys)
	default:
		newKeys, err := publish.ReadKeys(args[2])
		if err != nil {
			return err
		}
		return printed(r.Rotate(keys, newKeys, threshold))
	}
}

// refreshed looks for news upstream. Its cache is new and empty: an archive that an
// earlier run has fetched says nothing about what upstream has now.
func refreshed(ctx context.Context, dir, mirror, suite string, skip []string, dry bool) error {
	cache, err := cachedir.Find(cachedir.Options{Env: os.Environ(), Dir: "/"})
	if err != nil {
		return err
	}
	work, err := owned.MakeDir(filepath.Join(cache, cachedir.Work))
	if err != nil {
		return err
	}
	defer func() { _ = work.Close() }()
	tmp, err := work.Temp("refresh-")
	if err != nil {
		return err
	}
	defer func() { _ = tmp.Discard() }()
	fetcher, err := fetch.New(fetch.Options{CacheDir: tmp.Path(), Env: os.Environ(), NoDebian: true})
	if err != nil {
		return err
	}
	archive, err := debian.Open(fetcher, []fetch.Mirror{{Base: mirror}})
	if err != nil {
		return err
	}
	report, err := refresh.Run(ctx, refresh.Options{
		Dir: dir, Fetcher: fetcher, Debian: archive, Suite: suite, Apache: "https://downloads.apache.org", PyPI: "https://pypi.org",
		Releases: "https://github.com/GrahamDumpleton/mod_wsgi/releases/download", Security: "https://httpd.apache.org/security", Skip: skip, Now: time.Now,
	})
	if err != nil {
		return err
	}
	report.Print(os.Stdout)
	if dry {
		return nil
	}
	return report.Write(dir, time.Now())
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
	d, err := refresh.Read(dir)
	if err != nil {
		return nil, err
	}
	return recipe.ParseDocument(d.Encode()) // with every check
}
