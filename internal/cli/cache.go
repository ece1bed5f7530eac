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
	"modwsgi/internal/cachedir"
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
		return fmt.Errorf("%q is neither a positive number nor auto", text)
	}
	*j.n = n
	return nil
}

func (j jobs) Type() string { return "N|auto" }

func jobsFlag(f *pflag.FlagSet, n *int) {
	f.Var(jobs{n}, "jobs", "number of concurrent compilers; auto uses what processors, control group and memory allow,\nor the size of a compile farm (distcc, icecream)")
}

// sharedFlags adds the flags of a shared build cache.
func sharedFlags(f *pflag.FlagSet, q *installer.Request) {
	f.StringVar(&q.Cache, "cache", "", "shared build cache: oci://REGISTRY/REPOSITORY or oci-layout:DIR (default MODWSGI_CACHE)")
	f.StringVar(&q.CacheMaxAge, "cache-max-age", "", `ignore builds older than this, such as 30d, or none (default 30d; MODWSGI_CACHE_MAX_AGE)`)
	f.StringVar(&q.CacheNotBefore, "cache-not-before", "", "ignore builds from before this date, such as 2026-11-28 (MODWSGI_CACHE_NOT_BEFORE)")
	f.StringArrayVar(&q.CacheTrust, "cache-trust", nil, "public key, or directory of public keys, to trust for builds (repeatable; MODWSGI_CACHE_TRUST)")
	f.StringVar(&q.CacheSignKey, "cache-sign-key", "", "upload builds, signed with this private key (MODWSGI_CACHE_SIGN_KEY)")
	f.BoolVar(&q.CacheHTTP, "cache-http", false, "use that registry without TLS, even on another machine")
}

func (a *app) cache() *cobra.Command {
	c := &cobra.Command{
		Use: "cache", Short: "Manage the build and download cache",
		Long: "cache shows and clears the cache directory. It holds downloaded archives, logs, and finished builds of httpd and\n" +
			"of the module, keyed by the hash of all their inputs. You can clear it at any time, even while modwsgi runs:\n" +
			"whatever is missing is built again.\n\n" +
			"MODWSGI_CACHE_LIMIT limits its size (default 5G, or none). When a new build exceeds the limit, the least recently\n" +
			"used builds are removed.",
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	c.PersistentFlags().StringVar(&dir, "cache-dir", "", "cache directory (default ~/.cache/modwsgi)")
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
	if path, err := cachedir.Find(cacheOf(q)); err == nil { // otherwise a command that needs one reports it
		q.CacheDir = path
	}
	return q, nil
}

// cacheOf names the cache directory of a request.
func cacheOf(q installer.Request) cachedir.Options {
	return cachedir.Options{Path: q.CacheDir, Dir: q.Dir, Env: q.Env, Events: q.Events}
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
			all, err := cachedir.List(cacheOf(q))
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

// cacheKinds are the kinds of entries in the cache, as --kind takes them.
var cacheKinds = []string{"httpd", "module", cachedir.KindDownload, cachedir.KindWork, cachedir.KindLog}

func kindFlag(c *cobra.Command, kinds *[]string) {
	c.Flags().StringSliceVar(kinds, "kind", nil, "only entries of these kinds: "+strings.Join(cacheKinds, ", ")+", or builds for the first two")
}

// checkKinds refuses unknown names and expands "builds".
func checkKinds(kinds []string) error {
	for _, k := range kinds {
		if k != "builds" && !ofKind(cacheKinds, k) {
			return fault.New(fault.Usage, "use one of: "+strings.Join(cacheKinds, ", ")+", builds", "unknown kind %q", k)
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

// showCached prints a list of entries with their total size.
func (a *app) showCached(q installer.Request, name string, all []cachedir.Item, what string) error {
	path, err := cachedir.Find(cacheOf(q))
	if err != nil {
		return err
	}
	var total int64
	for _, item := range all {
		total += item.Size
	}
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "path": path, name: append([]cachedir.Item{}, all...), "bytes": total})
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
	_, err = fmt.Fprintf(a.Stdout, "%d entries, %s %s %s\n", len(all), megabytes(total), what, path)
	return err
}

// ago shows roughly how long ago something happened.
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
		Use: "info ID", Short: "Show one entry of the cache and its inputs",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "run modwsgi cache list for the identifiers", "cache info takes one identifier, as in modwsgi cache info 9efdb39d699d")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			item, err := cachedir.FindItem(cacheOf(q), args[0])
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
				for _, k := range []string{"features", "python", "libpython", "runpath", "compiler", "target", "libc", "farm"} {
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
		Use: "verify", Args: noArgs, Short: "Check every entry against its recorded hash",
		Long: "verify reads every build and every downloaded archive and compares them with their recorded hashes.\n" +
			"Each build is also verified whenever it is used, so damage costs nothing but the time to build again.",
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			v, err := cachedir.Verify(c.Context(), cacheOf(q), drop)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "intact": v.Good, "damaged": append([]cachedir.Item{}, v.Bad...), "other_versions": v.Other, "dropped": drop})
			} else {
				_, _ = fmt.Fprintf(a.Stdout, "%d intact, %d damaged\n", v.Good, len(v.Bad))
				if v.Other > 0 {
					_, _ = fmt.Fprintf(a.Stdout, "%d entries of another version of modwsgi were not checked; modwsgi cache prune --older-than 30d removes those no longer used\n", v.Other)
				}
				for _, item := range v.Bad {
					_, _ = fmt.Fprintf(a.Stdout, "  %s %s %s: %s\n", item.Kind, item.ID[:min(12, len(item.ID))], printable(item.Name), printable(item.Damage))
				}
			}
			if len(v.Bad) > 0 && !drop {
				return fault.New(fault.Verify, "run modwsgi cache verify --drop to remove them; they are built or fetched again when needed",
					"%d entries of the cache are damaged", len(v.Bad))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&drop, "drop", false, "remove damaged entries")
	return c
}

func (a *app) cachePrune(dir *string) *cobra.Command {
	var p cachedir.Policy
	var size, age string
	c := &cobra.Command{
		Use: "prune", Args: noArgs, Short: "Remove the least recently used entries",
		Long: "prune removes entries not used for a given time (--older-than), then the least recently used ones until the\n" +
			"cache is small enough (--max-size). Without either flag it applies MODWSGI_CACHE_LIMIT (default 5G).",
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
				if p.MaxSize, err = cachedir.ParseSize(size); err != nil {
					return fault.New(fault.Usage, "write a number followed by K, M, G or T, as in 2G", "--max-size: %w", err)
				}
			case !c.Flags().Changed("older-than"):
				if p.MaxSize, err = cachedir.Limit(a.Env); err != nil {
					return err
				}
			}
			if c.Flags().Changed("older-than") {
				if p.OlderThan, err = cachedir.ParseAge(age); err != nil || p.OlderThan == 0 {
					return fault.New(fault.Usage, "write days, weeks or hours, as in 30d, 2w or 36h", "--older-than: %q is not an age", age)
				}
			}
			return a.prune(q, p)
		},
	}
	f := c.Flags()
	f.StringVar(&size, "max-size", "", "maximum size of the cache, as in 500M or 2G")
	f.StringVar(&age, "older-than", "", "remove entries not used for this long, as in 30d, 2w or 36h")
	f.BoolVar(&p.DryRun, "dry-run", false, "show what would be removed, without removing it")
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

func (a *app) prune(q installer.Request, p cachedir.Policy) error {
	gone, err := cachedir.Prune(cacheOf(q), p)
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
	var p cachedir.Policy
	c := &cobra.Command{
		Use: "clear", Args: noArgs, Short: "Remove everything, or every entry of a kind",
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
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "show what would be removed, without removing it")
	kindFlag(c, &p.Kinds)
	return c
}

// showValue prints the only result of a command, in JSON under a name.
func (a *app) showValue(name, value string) error {
	a.view.close()
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", name: value})
		return nil
	}
	_, err := fmt.Fprintln(a.Stdout, value)
	return err
}

func (a *app) cachePath(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "path", Args: noArgs, Short: "Print the cache directory",
		RunE: func(*cobra.Command, []string) error {
			q, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			path, err := cachedir.Find(cacheOf(q))
			if err != nil {
				return err
			}
			return a.showValue("path", path)
		},
	}
}

func (a *app) cacheKey(dir *string) *cobra.Command {
	var q installer.Request
	c := &cobra.Command{
		Use: "key", Args: noArgs, Short: "Print a key for the cache step of a CI system",
		Long: "key prints one line that changes whenever install would build something else. It covers pinned archives (and\n" +
			"the lock file), features, compiler, C library, Python's version and ABI, and modwsgi itself. It builds and\n" +
			"fetches nothing. Pass the same flags as to install; see docs/guides/ci.md.",
		RunE: func(c *cobra.Command, _ []string) error {
			base, err := a.cacheRequest(*dir)
			if err != nil {
				return err
			}
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events, q.CacheDir = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events, base.CacheDir
			q.LockTimeout = base.LockTimeout
			project, err := a.project(c)
			if err != nil {
				return err
			}
			project.note(q.Events)
			q.Python = a.python(q.Python)
			q.With, q.Without = splitList(q.With), splitList(q.Without)
			key, err := installer.CacheKey(c.Context(), q.Means, q.StagePlan)
			if err != nil {
				return project.explain(err)
			}
			return a.showValue("key", key)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&q.Python, "python", "", pythonHelp)
	f.StringVar(&q.HTTPD, "httpd", "bundled", "bundled, system, or a path to apxs, httpd or an httpd tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi")
	f.StringSliceVar(&q.With, "with", nil, "features to include in a bundled httpd")
	f.StringSliceVar(&q.Without, "without", nil, "features to leave out")
	librariesFlag(f, &q.Libraries)
	hardeningFlag(f, &q.Hardening)
	f.BoolVar(&q.Locked, "locked", false, "use exactly what the lock file records, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "file that records versions and hashes (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build versions with known vulnerabilities")
	configFlag(f)
	// The other flags of install do not affect what is built. They are accepted so
	// that a pipeline can use one list for both.
	f.BoolVar(&q.Upgrade, "upgrade", false, "look for newer versions even if the lock file has others")
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
		Use: "keygen FILE", Short: "Generate a key pair for signing builds",
		Long: "keygen writes a private key (Ed25519, PKCS #8 in PEM) to FILE, for machines that fill a shared cache\n" +
			"(--cache-sign-key), and the public key to FILE.pub, for machines that use it (--cache-trust).",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fault.New(fault.Usage, "for example: modwsgi cache keygen cache-key.pem", "cache keygen needs the name of the file to write")
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
			_, err = fmt.Fprintf(a.Stdout, "%s: private key, keep it secret\n%s.pub: public key, for machines that trust your builds\nfingerprint %s\n", name, name, print)
			return err
		},
	}
}
