package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/internal/settingsfile"
)

// toolName is the table of the project's settings: [tool.modwsgi].
const toolName = "modwsgi"

const settingsHint = "docs/guides/project-settings.md has all rules; --config none reads no file"

// oneRun are the flags that a file cannot set, with what to do instead. All other flags of
// install are keys.
var oneRun = map[string]string{
	"python":                "names the environment of one machine: pass --python, or call it .venv",
	"upgrade":               "is for one run: pass --upgrade",
	"reinstall":             "is for one run: pass --reinstall",
	"dry-run":               "is for one run: pass --dry-run",
	"timings":               "is for one run: pass --timings",
	"keep-build":            "is for one run: pass --keep-build",
	"break-system-packages": "is consent for one machine: pass --break-system-packages",
	"cache-dir":             "is for one machine and all commands: set MODWSGI_CACHE_DIR",
	"cache-sign-key":        "is a secret of one machine: set MODWSGI_CACHE_SIGN_KEY",
	"lock-timeout":          "is for one machine: set MODWSGI_LOCK_TIMEOUT",
	"download-timeout":      "is for one machine: set MODWSGI_DOWNLOAD_TIMEOUT",
	"download-min-rate":     "is for one machine: set MODWSGI_DOWNLOAD_MIN_RATE",
	"config":                "is not a setting: a file cannot name another one",
	"help":                  "is not a setting: pass --help",
	"version":               "is not a setting: pass --version",
	"json":                  "is about what one run prints: pass --json",
	"verbose":               "is about what one run prints: pass --verbose",
	"echo":                  "is about what one run prints: pass --echo",
	"progress":              "is about what one run prints: pass --progress",
}

// variables of the environment set a flag for one machine, and replace a project's
// setting. Other code reads them.
var variables = map[string][]string{
	"httpd":            {"APXS", "HTTPD", "MOD_WSGI_APACHE_ROOTDIR"},
	"cache":            {"MODWSGI_CACHE"},
	"cache-trust":      {"MODWSGI_CACHE_TRUST"},
	"cache-max-age":    {"MODWSGI_CACHE_MAX_AGE"},
	"cache-not-before": {"MODWSGI_CACHE_NOT_BEFORE"},
}

// rivals are flags that a setting of the file contradicts. The command line decides.
var rivals = map[string]string{"locked": "upgrade", "offline": "mirror", "mirror": "offline"}

// companions are settings about the file's shared cache. Another cache must not get them.
var companions = []string{"cache-trust", "cache-http"}

// projectSettings are what the project's file decided for a command.
type projectSettings struct {
	Path string       `json:"file"`
	Keys []settingKey `json:"keys"`
	name string       // of the file, in messages
}

type settingKey struct {
	Key  string `json:"key"`
	Line int    `json:"line"`
}

// String lists the settings.
func (s *projectSettings) String() string {
	var keys []string
	for _, k := range s.Keys {
		keys = append(keys, fmt.Sprintf("%s (line %d)", k.Key, k.Line))
	}
	return fmt.Sprintf("settings from %s: %s", s.name, strings.Join(keys, ", "))
}

// note reports the settings before the work begins.
func (s *projectSettings) note(to event.Sink) {
	if s != nil {
		to.Note(s.String())
	}
}

// show adds the settings to a result.
func (s *projectSettings) show(w io.Writer) {
	if s != nil {
		_, _ = fmt.Fprintln(w, printable(s.String()))
	}
}

// explain adds the settings to the hint of an error that they may be the reason for.
func (s *projectSettings) explain(err error) error {
	class := fault.ClassOf(err)
	if err == nil || s == nil || class != fault.Usage && class != fault.Environment {
		return err
	}
	note := s.String() + "; --config none leaves them out"
	if hint := fault.HintOf(err); hint != "" {
		note = hint + " (" + note + ")"
	}
	return fault.Wrap(class, note, err)
}

func configFlag(f *pflag.FlagSet) {
	f.String("config", "", "file with settings of the project, or none (default: [tool."+toolName+"] in pyproject.toml)")
}

// project sets those flags of a command that neither the command line nor the environment
// sets, as the project's file has them. It returns nil if the file decides nothing.
func (a *app) project(c *cobra.Command) (*projectSettings, error) {
	config := c.Flags().Lookup("config")
	named := config.Value.String()
	if config.Changed && named == "" {
		return nil, fault.New(fault.Usage, "name a file, or none, or leave it out", "--config is empty")
	}
	finder := settingsfile.Finder{Dir: a.Dir, Tool: toolName, Trusted: owned.Check}
	file, err := finder.Find(named, "--config")
	if err != nil || file == nil {
		return nil, err
	}
	given, err := readSettings(file, a.install().Flags())
	if err != nil {
		return nil, err
	}
	s := &projectSettings{Path: file.Path, name: file.Name}
	for _, one := range given {
		flag := c.Flags().Lookup(one.key)
		if flag == nil || a.replaced(c, one.key, given) {
			continue
		}
		if err := set(flag, unless(c, one)); err != nil {
			return nil, err
		}
		s.Keys = append(s.Keys, settingKey{one.key, one.line})
	}
	if len(s.Keys) == 0 {
		return nil, nil
	}
	return s, nil
}

// replaced reports whether the command line or the environment decides instead of the
// file.
func (a *app) replaced(c *cobra.Command, key string, all []given) bool {
	if c.Flags().Changed(key) {
		return true
	}
	for _, name := range variables[key] {
		if run.Getenv(a.Env, name) != "" {
			return true
		}
	}
	if rival := c.Flags().Lookup(rivals[key]); rival != nil && rival.Changed && rival.Value.String() != "false" {
		return true
	}
	own := slices.ContainsFunc(all, func(g given) bool { return g.key == "cache" })
	return own && slices.Contains(companions, key) && a.replaced(c, "cache", nil)
}
