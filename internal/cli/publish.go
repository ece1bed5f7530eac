package cli

import (
	"crypto/tls"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/aptrepo"
	"modwsgi/packaging/publish/dnfrepo"
	"modwsgi/packaging/publish/ociref"
	"modwsgi/packaging/publish/pyindex"
	"modwsgi/packaging/publish/repodir"
	"modwsgi/packaging/sign"
)

// publishOptions are the flags of "package publish".
type publishOptions struct {
	only     []string
	dry      bool
	verify   sign.VerifyKeys
	index    pyindex.Options
	apt      aptrepo.Options
	aptDir   string
	dnfDir   string
	oci      ociref.Options
	ca       string
	insecure bool
	key      string
	pass     string
	unsigned bool
}

func (o *publishOptions) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringArrayVar(&o.only, "only", nil, "publish only artifacts whose name matches this pattern, as in 'mod_wsgi-5*' (repeatable)")
	f.BoolVar(&o.dry, "dry-run", false, "show what is missing at the destinations and change nothing")
	f.StringVar(&o.verify.OpenPGP, "verify-openpgp", "", "file with the public key that must have signed SHA256SUMS.asc")
	f.StringVar(&o.verify.Minisign, "verify-minisign", "", "file with the public key that must have signed SHA256SUMS.minisig")
	f.StringVar(&o.verify.ECDSA, "verify-ecdsa", "", "file with the public key in PEM that must have signed SHA256SUMS.sig")
	f.StringVar(&o.index.URL, "index-url", "", "upload wheels and source distributions to this package index, as in https://upload.pypi.org/legacy/")
	f.StringVar(&o.index.CheckURL, "index-check-url", "", "where pip finds the files of that index (default: its simple/)")
	f.StringVar(&o.index.TokenFile, "index-token-file", "", "file whose first line is an API token of that index\n(default: "+pyindex.TokenVariable+", or "+
		pyindex.UserVariable+" and "+pyindex.PasswordVariable+", ~/.pypirc, ~/.netrc)")
	f.StringVar(&o.aptDir, "apt", "", "add deb packages to the apt repository in this directory")
	f.StringVar(&o.apt.Suite, "apt-suite", "stable", "with --apt: suite, the second word in sources.list")
	f.StringVar(&o.apt.Component, "apt-component", "main", "with --apt: component, the third word in sources.list")
	f.StringVar(&o.apt.Origin, "apt-origin", "", "with --apt: origin of the suite, for pinning")
	f.StringVar(&o.apt.Label, "apt-label", "", "with --apt: label of the suite, for pinning")
	f.DurationVar(&o.apt.Valid, "apt-valid-for", 0, "with --apt: how long apt accepts the indexes, as in 336h; publish again before (default: no limit)")
	f.StringVar(&o.dnfDir, "dnf", "", "add rpm packages to the dnf repository in this directory")
	f.StringVar(&o.oci.Reference, "oci", "", "push the image to this REGISTRY/REPOSITORY:TAG, with its bill of materials and provenance")
	f.BoolVar(&o.oci.Move, "oci-move-tag", false, "with --oci: the tag may name another image, as latest does")
	f.StringVar(&o.key, "sign-openpgp", "", "file with the OpenPGP private key of the apt or dnf repository")
	f.StringVar(&o.pass, "sign-passphrase-file", "", "file whose first line is the passphrase of the key")
	f.BoolVar(&o.unsigned, "unsigned", false, "do not sign the apt or dnf repository")
	f.StringVar(&o.ca, "ca", "", "PEM file with further certificate authorities of the index and the registry")
	f.BoolVar(&o.insecure, "insecure", false, "allow plain http to the index and the registry, and certificates of unknown authorities")
}

// check refuses flags that contradict each other.
func (o *publishOptions) check(c *cobra.Command) error {
	if o.index.URL == "" && o.aptDir == "" && o.dnfDir == "" && o.oci.Reference == "" {
		return fault.New(fault.Usage, "name at least one, with --index-url, --apt, --dnf or --oci", "no destination is given")
	}
	for _, f := range []struct{ of, name string }{
		{"index-url", "index-check-url"},
		{"index-url", "index-token-file"},
		{"apt", "apt-suite"},
		{"apt", "apt-component"},
		{"apt", "apt-origin"},
		{"apt", "apt-label"},
		{"apt", "apt-valid-for"},
		{"oci", "oci-move-tag"},
		{"sign-openpgp", "sign-passphrase-file"},
	} {
		if c.Flags().Changed(f.name) && !c.Flags().Changed(f.of) {
			return fault.New(fault.Usage, "leave it out, or add --"+f.of, "--%s has no effect without --%s", f.name, f.of)
		}
	}
	repository := o.aptDir != "" || o.dnfDir != ""
	switch {
	case repository && o.key == "" && !o.unsigned:
		return fault.New(fault.Usage, "pass --sign-openpgp with the repository's key, or --unsigned", "an apt or dnf repository needs a signature")
	case o.key != "" && (o.unsigned || !repository):
		return fault.New(fault.Usage, "leave one of them out", "--sign-openpgp signs an apt or dnf repository, and none is to be signed")
	}
	return nil
}

// packPublish is "package publish".
func (a *app) packPublish() *cobra.Command {
	var o publishOptions
	c := &cobra.Command{
		Use: "publish [DIRECTORY]", Short: "Publish artifacts to a package index, an apt or dnf repository, or a registry",
		Long: "publish gives the artifacts of an output directory (default dist) to others: wheels and source distributions to\n" +
			"a package index, deb and rpm packages to repositories in a directory, an image to a registry.\n" +
			"It verifies the directory first, then looks for every file at every destination. A name that has other contents\n" +
			"there is an error, and nothing is changed. Files that exist are skipped, so after an interruption, run the same\n" +
			"command again. Nobody sees an index that names a file before the file is there.",
		Example: "  modwsgi package publish --index-url https://upload.pypi.org/legacy/ --dry-run\n" +
			"  modwsgi package publish dist --apt /srv/apt --apt-suite bookworm --dnf /srv/dnf --sign-openpgp key.asc\n" +
			"  modwsgi package publish --oci registry.example.org/shop/web:1.0 --verify-minisign release.pub",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, "name one output directory", "unexpected argument %q", args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			dir := "dist"
			if len(args) == 1 {
				dir = args[0]
			}
			if err := a.start(); err != nil {
				return err
			}
			return a.publish(c, a.abs(dir), &o)
		},
	}
	o.flags(c.Flags())
	return c
}

// publish verifies the directory, and publishes it.
func (a *app) publish(c *cobra.Command, dir string, o *publishOptions) error {
	keys := sign.VerifyKeys{OpenPGP: a.absOr(o.verify.OpenPGP), Minisign: a.absOr(o.verify.Minisign), ECDSA: a.absOr(o.verify.ECDSA)}
	sink := a.view.sink()
	var set *publish.Set
	err := sink.Step("verify "+dir, func() (err error) {
		set, err = publish.Open(dir, keys, o.only)
		return err
	})
	if err != nil {
		return err
	}
	defer set.Close()
	all, err := a.destinations(set, o)
	if err != nil {
		return err
	}
	plans, err := publish.Run(c.Context(), all, publish.Options{
		Dry: o.dry, Step: sink.Step, Done: func(c publish.Change) { sink.Note("published " + c.Name) },
	})
	if err != nil {
		return err
	}
	a.view.close()
	a.showPublished(dir, plans, o.dry)
	return nil
}

// absOr is abs for a path that need not be given.
func (a *app) absOr(path string) string {
	if path == "" {
		return ""
	}
	return a.abs(path)
}

// destinations opens what the flags name. All of them are checked before any of them is
// asked.
func (a *app) destinations(set *publish.Set, o *publishOptions) ([]publish.Destination, error) {
	trust, err := httpc.Authorities("--ca", a.absOr(o.ca), o.insecure)
	if err != nil {
		return nil, err
	}
	signer, err := a.repositoryKey(o)
	if err != nil {
		return nil, err
	}
	var all []publish.Destination
	add := func(d publish.Destination, err error) error {
		if err == nil {
			all = append(all, d)
		}
		return err
	}
	// Repositories come first, because their locks are held until they are published.
	if o.aptDir != "" {
		q := o.apt
		q.Dir, q.Signer, q.Now, q.Dry = a.repositoryDir(o.aptDir), signer, a.now(), o.dry
		r, err := aptrepo.New(set, q)
		if err := add(r, err); err != nil {
			return nil, err
		}
	}
	if o.dnfDir != "" {
		r, err := dnfrepo.New(set, dnfrepo.Options{Dir: a.repositoryDir(o.dnfDir), Signer: signer, Now: a.now(), Dry: o.dry})
		if err := add(r, err); err != nil {
			return nil, err
		}
	}
	return all, a.servers(set, o, trust, add)
}

// servers opens the destinations that are servers.
func (a *app) servers(set *publish.Set, o *publishOptions, trust *tls.Config, add func(publish.Destination, error) error) error {
	if o.index.URL != "" {
		q := o.index
		q.TokenFile, q.Env, q.Pace, q.TLS, q.Insecure = a.absOr(q.TokenFile), a.Env, a.pace(), trust, o.insecure
		x, err := pyindex.New(set, q)
		if err := add(x, err); err != nil {
			return err
		}
	}
	if o.oci.Reference != "" {
		q := o.oci
		q.Env, q.Runner, q.Pace, q.TLS, q.Insecure = a.Env, a.runner(), a.pace(), trust, o.insecure
		i, err := ociref.New(set, q)
		if err := add(i, err); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) now() func() time.Time {
	if a.Now != nil {
		return a.Now
	}
	return time.Now
}

func (a *app) repositoryDir(path string) repodir.Options {
	return repodir.Options{Path: a.abs(path), Limit: a.lockLimit(), Waiting: func(text string) { a.view.sink().Warn(text) }}
}

// repositoryKey reads the key that signs repositories; nil for none.
func (a *app) repositoryKey(o *publishOptions) (*sign.OpenPGP, error) {
	if o.key == "" {
		return nil, nil
	}
	signers, err := sign.Keys{OpenPGP: a.abs(o.key), PassphraseFile: a.absOr(o.pass)}.Signers(a.now())
	if err != nil {
		return nil, err
	}
	key, _ := signers[0].(*sign.OpenPGP)
	return key, nil
}

// publishedRecord is the result with --json.
type publishedRecord struct {
	Event        string          `json:"event"` // "result"
	Directory    string          `json:"directory"`
	DryRun       bool            `json:"dry_run"`
	Destinations []*publish.Plan `json:"destinations"`
}

// showPublished prints what was published, or would be.
func (a *app) showPublished(dir string, plans []*publish.Plan, dry bool) {
	if a.flags.json {
		writeJSON(a.Stdout, publishedRecord{"result", dir, dry, plans})
		return
	}
	words := map[publish.State]string{publish.Add: "published", publish.Update: "updated", publish.Present: "already there"}
	if dry {
		words[publish.Add], words[publish.Update] = "would be published", "would be updated"
	}
	for _, p := range plans {
		_, _ = fmt.Fprintf(a.Stdout, "%s:\n", printable(p.Address))
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		for _, c := range p.Changes {
			_, _ = fmt.Fprintf(t, "  %s\t%s\n", printable(c.Name), words[c.State])
		}
		_ = t.Flush()
		if !p.Pending() {
			_, _ = fmt.Fprintln(a.Stdout, "  nothing to do")
		}
	}
}
