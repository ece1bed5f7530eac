package cli

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/installer"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/fault"
)

// jobs is the value of --jobs: a number from 1, or auto.
type jobs struct{ n *int }

func (j jobs) String() string {
	if j.n == nil || *j.n == 0 {
		return "auto"
	}
	return strconv.Itoa(*j.n)
}

func (j jobs) Set(text string) error {
	if text == "auto" {
		*j.n = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 10_000 {
		return fmt.Errorf("%q is neither a number from 1 nor auto", text)
	}
	*j.n = n
	return nil
}

func (j jobs) Type() string { return "N|auto" }

func jobsFlag(f *pflag.FlagSet, n *int) {
	f.Var(jobs{n}, "jobs", "compilers at a time; auto is what processors, control group and memory allow")
}

// sharedFlags are those of a shared build cache.
func sharedFlags(f *pflag.FlagSet, q *installer.Request) {
	f.StringVar(&q.Cache, "cache", "", "shared build cache: oci://REGISTRY/REPOSITORY or oci-layout:DIR (default MODWSGI_CACHE)")
	f.StringVar(&q.CacheMaxAge, "cache-max-age", "", `age from which builds there do not count any more, such as 30d or none (default 30d; MODWSGI_CACHE_MAX_AGE)`)
	f.StringVar(&q.CacheNotBefore, "cache-not-before", "", "date before which no build there counts, such as 2026-11-28 (MODWSGI_CACHE_NOT_BEFORE)")
	f.StringArrayVar(&q.CacheTrust, "cache-trust", nil, "public key, or directory of such, whose builds are taken from there (repeatable; MODWSGI_CACHE_TRUST)")
	f.StringVar(&q.CacheSignKey, "cache-sign-key", "", "private key: builds are put there, signed with it (MODWSGI_CACHE_SIGN_KEY)")
	f.BoolVar(&q.CacheHTTP, "cache-http", false, "speak to that registry without TLS also where it is not this machine")
}

func (a *app) cache() *cobra.Command {
	c := &cobra.Command{
		Use: "cache", Short: "Look at what was built and fetched before, and clear it away",
		Long: "cache shows and clears the cache directory: finished builds of httpd and of the module, by the hash of all\n" +
			"that went into them; downloaded archives; logs. It may be cleared at any time, also while modwsgi runs:\n" +
			"what is missing is built again.\n\n" +
			"MODWSGI_CACHE_LIMIT is how large it may become (default 5G, or none): builds that were not used for longest\n" +
			"go when a new one is kept.",
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	c.PersistentFlags().StringVar(&dir, "cache-dir", "", "the cache directory (default ~/.cache/modwsgi)")
	c.AddCommand(a.cacheList(&dir), a.cacheInfo(&dir), a.cacheVerify(&dir), a.cachePrune(&dir), a.cacheClear(&dir), a.cachePath(&dir), a.cacheKey(&dir), a.cacheKeygen())
	return c
}

// cacheRequest starts a command on the cache.
func (a *app) cacheRequest(dir string) (installer.Request, error) {
	if err := a.start(); err != nil {
		return installer.Request{}, err
	}
	q := a.request()
	q.CacheDir = dir
	if path, err := installer.CacheDirectory(q); err == nil { // else the command reports it, where it needs one
		q.CacheDir = path
	}
	return q, nil
}

func (a *app) cacheList(dir *string) *cobra.Command {
	var kinds []string
	c := &cobra.Command{
		Use: "list", Args: noArgs, Short: "List builds, downloads and logs, with sizes and last use",
		RunE: func(*cobra.Command, []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			if err := checkKinds(kinds); err != nil {
				return err
			}
			all, err := installer.ListCache(q)
			if err != nil {
				return err
			}
			shown := all[:0]
			for _, item := range all {
				if ofKind(kinds, item.Kind) {
					shown = append(shown, item)
				}
			}
			a.view.close()
			return a.showCached(q, "entries", shown, "in")
		},
	}
	kindFlag(c, &kinds)
	return c
}

// kinds of things in the cache, as --kind takes them.
var cacheKinds = []string{"httpd", "module", installer.KindDownload, installer.KindWork, installer.KindLog}

func kindFlag(c *cobra.Command, kinds *[]string) {
	c.Flags().StringSliceVar(kinds, "kind", nil, "only these: "+strings.Join(cacheKinds, ", ")+", or builds for the first two")
}

// checkKinds refuses unknown names and spells "builds" out.
func checkKinds(kinds []string) error {
	for _, k := range kinds {
		if k != "builds" && !ofKind(cacheKinds, k) {
			return fault.New(fault.Usage, "the kinds are: "+strings.Join(cacheKinds, ", ")+", builds", "there is no kind %q", k)
		}
	}
	return nil
}

func ofKind(kinds []string, kind string) bool {
	if len(kinds) == 0 {
		return true
	}
	for _, k := range kinds {
		if k == kind || k == "builds" && (kind == "httpd" || kind == "module" || kind == "build") {
			return true
		}
	}
	return false
}

// showCached prints a list with its sum.
func (a *app) showCached(q installer.Request, name string, all []installer.Cached, what string) error {
	path, err := installer.CacheDirectory(q)
	if err != nil {
		return err
	}
	var total int64
	for _, item := range all {
		total += item.Size
	}
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "path": path, name: append([]installer.Cached{}, all...), "bytes": total})
		return nil
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, item := range all {
		note := ""
		if item.Damage != "" {
			note = "  (" + printable(item.Damage) + ")"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s%s\n", item.Kind, item.ID[:min(12, len(item.ID))], megabytes(item.Size), a.ago(item.Used), printable(item.Name), note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%d things, %s %s %s\n", len(all), megabytes(total), what, path)
	return err
}

// ago says how long something has been, roughly.
func (a *app) ago(t time.Time) string {
	d := a.Now().Sub(t)
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func (a *app) cacheInfo(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "info ID", Short: "Show what one thing in the cache is and was made from",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "modwsgi cache list shows the identifiers", "cache info takes one identifier, as in modwsgi cache info 9efdb39d699d")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			item, err := installer.FindCached(q, args[0])
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "entry": item})
				return nil
			}
			w := a.Stdout
			_, _ = fmt.Fprintf(w, "%s\n  kind: %s\n  identifier: %s\n  size: %s\n  last use: %s\n  path: %s\n", printable(item.Name), item.Kind, item.ID, megabytes(item.Size),
				item.Used.UTC().Format(time.RFC3339), item.Path)
			if b := item.Build; b != nil {
				_, _ = fmt.Fprintf(w, "  files: %d\n", b.Files)
				for _, k := range []string{"features", "python", "libpython", "runpath", "compiler", "target", "libc"} {
					if v := b.Details[k]; v != "" {
						_, _ = fmt.Fprintf(w, "  %s: %s\n", k, printable(v))
					}
				}
				for _, p := range b.Parts {
					_, _ = fmt.Fprintf(w, "  from: %s %s, sha256 %s, %s\n", printable(p.Name), printable(p.Version), printable(p.SHA256), printable(p.Trust))
				}
			}
			if item.Damage != "" {
				_, _ = fmt.Fprintf(w, "  damaged: %s\n", printable(item.Damage))
			}
			return nil
		},
	}
}

func (a *app) cacheVerify(dir *string) *cobra.Command {
	var drop bool
	c := &cobra.Command{
		Use: "verify", Args: noArgs, Short: "Read everything and compare it with its hashes",
		Long: "verify reads every build and every downloaded archive and compares them with the hashes that were recorded.\n" +
			"A build is verified in the same way whenever it is taken out, so that damage costs time and nothing else.",
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			v, err := installer.VerifyCache(c.Context(), q, drop)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "intact": v.Good, "damaged": append([]installer.Cached{}, v.Bad...), "other_versions": v.Other, "dropped": drop})
			} else {
				_, _ = fmt.Fprintf(a.Stdout, "%d intact, %d damaged\n", v.Good, len(v.Bad))
				if v.Other > 0 {
					_, _ = fmt.Fprintf(a.Stdout, "%d of another version of modwsgi were not looked at; modwsgi cache prune --older-than 30d removes what is not used any more\n", v.Other)
				}
				for _, item := range v.Bad {
					_, _ = fmt.Fprintf(a.Stdout, "  %s %s %s: %s\n", item.Kind, item.ID[:min(12, len(item.ID))], printable(item.Name), printable(item.Damage))
				}
			}
			if len(v.Bad) > 0 && !drop {
				return fault.New(fault.Verify, "modwsgi cache verify --drop removes what is damaged; it is built or fetched again when it is needed",
					"%d things in the cache are damaged", len(v.Bad))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&drop, "drop", false, "remove what is damaged")
	return c
}

func (a *app) cachePrune(dir *string) *cobra.Command {
	var p installer.CachePolicy
	var size, age string
	c := &cobra.Command{
		Use: "prune", Args: noArgs, Short: "Remove what was not used for longest",
		Long: "prune removes what was not used for a time (--older-than), and from the rest what was not used for longest\n" +
			"until the cache is small enough (--max-size; without either: MODWSGI_CACHE_LIMIT, default 5G).",
		Example: "  modwsgi cache prune --older-than 30d\n  modwsgi cache prune --max-size 2G --dry-run",
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			if err := checkKinds(p.Kinds); err != nil {
				return err
			}
			p.Kinds = spelledOut(p.Kinds)
			p.MaxSize = -1
			switch {
			case c.Flags().Changed("max-size"):
				if p.MaxSize, err = installer.ParseSize(size); err != nil {
					return fault.New(fault.Usage, "write a number with K, M, G or T behind it, as in 2G", "--max-size: %w", err)
				}
			case !c.Flags().Changed("older-than"):
				if p.MaxSize, err = installer.CacheLimit(a.Env); err != nil {
					return err
				}
			}
			if c.Flags().Changed("older-than") {
				if p.OlderThan, err = installer.ParseAge(age); err != nil || p.OlderThan == 0 {
					return fault.New(fault.Usage, "write days, weeks or hours, as in 30d, 2w or 36h", "--older-than: %q is not an age", age)
				}
			}
			return a.prune(q, p)
		},
	}
	f := c.Flags()
	f.StringVar(&size, "max-size", "", "how large the cache may be, as in 500M or 2G")
	f.StringVar(&age, "older-than", "", "remove what was not used for so long, as in 30d, 2w or 36h")
	f.BoolVar(&p.DryRun, "dry-run", false, "say what would go and remove nothing")
	kindFlag(c, &p.Kinds)
	return c
}

func spelledOut(kinds []string) []string {
	var out []string
	for _, k := range kinds {
		if k == "builds" {
			out = append(out, "httpd", "module", "build")
			continue
		}
		out = append(out, k)
	}
	return out
}

func (a *app) prune(q installer.Request, p installer.CachePolicy) error {
	gone, err := installer.PruneCache(q, p)
	if err != nil {
		return err
	}
	a.view.close()
	what := "removed from"
	if p.DryRun {
		what = "would be removed from"
	}
	return a.showCached(q, "removed", gone, what)
}

func (a *app) cacheClear(dir *string) *cobra.Command {
	var p installer.CachePolicy
	c := &cobra.Command{
		Use: "clear", Args: noArgs, Short: "Remove everything, or all of a kind",
		RunE: func(*cobra.Command, []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			if err := checkKinds(p.Kinds); err != nil {
				return err
			}
			p.Kinds = spelledOut(p.Kinds)
			p.OlderThan, p.MaxSize = 0, 0
			p.All = true
			return a.prune(q, p)
		},
	}
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "say what would go and remove nothing")
	kindFlag(c, &p.Kinds)
	return c
}

func (a *app) cachePath(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "path", Args: noArgs, Short: "Print the cache directory",
		RunE: func(*cobra.Command, []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			path, err := installer.CacheDirectory(q)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "path": path})
				return nil
			}
			_, err = fmt.Fprintln(a.Stdout, path)
			return err
		},
	}
}

func (a *app) cacheKey(dir *string) *cobra.Command {
	var q installer.Request
	c := &cobra.Command{
		Use: "key", Args: noArgs, Short: "Print a key for the cache step of a CI system",
		Long: "key prints one line that changes when what install would build changes: pinned archives (and the lock file),\n" +
			"features, compiler, C library, Python's version and ABI, and modwsgi itself. It builds and fetches nothing.\n" +
			"Give it the flags that install gets; see docs/guides/ci.md.",
		RunE: func(c *cobra.Command, _ []string) error {
			base, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events, q.CacheDir = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events, base.CacheDir
			q.LockTimeout = base.LockTimeout
			q.Python = a.python(q.Python)
			q.With, q.Without = splitList(q.With), splitList(q.Without)
			key, err := installer.CacheKey(c.Context(), q)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "key": key})
				return nil
			}
			_, err = fmt.Fprintln(a.Stdout, key)
			return err
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&q.Python, "python", "", pythonHelp)
	f.StringVar(&q.HTTPD, "httpd", "bundled", "bundled, system, or the path of an apxs, an httpd or its tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi")
	f.StringSliceVar(&q.With, "with", nil, "features that a bundled httpd must have")
	f.StringSliceVar(&q.Without, "without", nil, "features that it must not have")
	f.BoolVar(&q.Locked, "locked", false, "take exactly what the lock file says, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "where versions and hashes are recorded (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build what a known advisory warns of")
	// The rest of install's flags changes nothing of what is built; a pipeline may
	// have one list for both.
	f.BoolVar(&q.Upgrade, "upgrade", false, "look for newer versions also where the lock file has others")
	a.install().Flags().VisitAll(func(flag *pflag.Flag) {
		if f.Lookup(flag.Name) == nil && flag.Name != "cache-dir" {
			flag.Hidden = true
			f.AddFlag(flag)
		}
	})
	return c
}

func (a *app) cacheKeygen() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a key pair to sign builds with",
		Long: "keygen writes a private key (Ed25519, PKCS #8 in PEM) to FILE, for those who fill a shared cache\n" +
			"(--cache-sign-key), and the public one to FILE.pub, for those who use it (--cache-trust).",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fault.New(fault.Usage, "for example: modwsgi cache keygen cache-key.pem", "cache keygen takes the name of the file to write")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := a.start(); err != nil {
				return err
			}
			name := args[0]
			if !filepath.IsAbs(name) {
				name = filepath.Join(a.Dir, name)
			}
			print, err := remote.GenerateKey(name)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "private": name, "public": name + ".pub", "fingerprint": print})
				return nil
			}
			_, err = fmt.Fprintf(a.Stdout, "%s: private, keep it secret\n%s.pub: public, give it to those who trust you\nfingerprint %s\n", name, name, print)
			return err
		},
	}
}
