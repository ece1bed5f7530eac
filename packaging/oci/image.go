package oci

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sbom"
)

func fileSum(name string) (string, error) { return digest.File(name) }

// neverApp are directories that are next to an application but do not belong to it.
var neverApp = []string{".git", ".hg", ".svn", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache"}

// appLayer is the layer with the application, and the command that serves it.
func (m *maker) appLayer(i *image) error {
	serves := m.o.Entry
	if m.o.App != "" {
		c := collector{root: m.o.App, to: AppDir, skip: func(rel string, d fs.DirEntry) bool {
			if !d.IsDir() {
				return false
			}
			name := filepath.Join(m.o.App, filepath.FromSlash(rel))
			_, err := os.Stat(filepath.Join(name, "pyvenv.cfg"))
			return err == nil || slices.Contains(neverApp, d.Name()) || slices.Contains(m.o.Exclude, name)
		}}
		all, err := c.collect("repair the application's directory, or name another one with --app")
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fault.New(fault.Usage, "name the directory of the application's files", "--app: %s is empty", m.o.App)
		}
		if serves, err = findEntry(all, serves); err != nil {
			return err
		}
		if err := m.put(i, "the application", append(all, dirEntry(AppDir, 0o755))); err != nil {
			return err
		}
	} else if err := m.put(i, "the working directory", []entry{dirEntry(AppDir, 0o755)}); err != nil {
		return err
	}
	i.command = command(serves, m.o.Args)
	return nil
}

// findEntry finds what start-server serves: what the user named, else the only script
// with a usual name.
func findEntry(all []entry, wanted string) (string, error) {
	var scripts []string
	for _, e := range all {
		rel := strings.TrimPrefix(e.name, AppDir[1:]+"/")
		if wanted != "" && (rel == path.Clean(wanted) && !e.mode.IsDir()) {
			return wanted, nil
		}
		if !strings.Contains(rel, "/") && !e.mode.IsDir() && (rel == "wsgi.py" || strings.HasSuffix(rel, ".wsgi")) {
			scripts = append(scripts, rel)
		}
	}
	if wanted == "" && len(scripts) == 1 {
		return scripts[0], nil
	}
	if wanted != "" && !strings.ContainsAny(wanted, "/") && !strings.HasSuffix(wanted, ".py") && !strings.HasSuffix(wanted, ".wsgi") {
		return wanted, nil // the name of a module, which may be among the packages
	}
	if wanted != "" {
		return "", fault.New(fault.Usage, "pass its path below --app, or the name of a module", "--entry: the application does not contain %s", wanted)
	}
	return "", fault.New(fault.Usage, "name the file or module to serve with --entry", "cannot determine what to serve: the application's directory contains %d files named wsgi.py or *.wsgi", len(scripts))
}

// command lists the arguments of start-server after the options that the image always
// has.
func command(entry string, args []string) []string {
	if entry == "" {
		return args
	}
	var all []string
	if !strings.HasSuffix(entry, ".py") && !strings.Contains(entry, ".wsgi") && !strings.Contains(entry, "/") &&
		!slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--application-type") }) {
		all = append(all, "--application-type", "module")
	}
	return append(append(all, entry), args...)
}

// config is the image configuration for a runtime.
func (m *maker) config(i *image) (*v1.ConfigFile, error) {
	cfg := &v1.ConfigFile{Architecture: i.platform.Architecture, Variant: i.platform.Variant, OS: i.platform.OS, Created: v1.Time{Time: m.o.Time}}
	c := &cfg.Config
	if i.base != nil {
		cfg.Author, cfg.OSVersion, cfg.OSFeatures = i.base.config.Author, i.base.config.OSVersion, i.base.config.OSFeatures
		cfg.Variant = orElse(i.base.config.Variant, cfg.Variant)
		c.Env, c.Labels, c.Volumes = slices.Clone(i.base.config.Config.Env), map[string]string{}, i.base.config.Config.Volumes
		for k, v := range i.base.config.Config.Labels {
			if !strings.HasPrefix(k, "org.opencontainers.image.") { // they describe the base
				c.Labels[k] = v
			}
		}
		cfg.History = slices.Clone(i.base.config.History)
	} else {
		c.Labels = map[string]string{}
	}
	bin := path.Join(Prefix, "bin")
	c.Env = withEnv(c.Env, "PATH", func(old string) string {
		if old == "" {
			old = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
			if i.base == nil {
				old = PythonHome + "/bin"
			}
		}
		return bin + ":" + old
	})
	c.Env = withEnv(c.Env, "LANG", func(old string) string { return orElse(old, "C.UTF-8") })
	if m.o.CACerts != "" && i.base == nil {
		c.Env = withEnv(c.Env, "SSL_CERT_FILE", func(string) string { return caFile })
	}
	for _, k := range slices.Sorted(maps.Keys(m.o.Env)) {
		c.Env = withEnv(c.Env, k, func(string) string { return m.o.Env[k] })
		if secret.MatchString(k) {
			m.warn("--env %s looks like a secret, and anyone who can pull the image can read it: pass it to the container instead", k)
		}
	}
	c.Entrypoint = []string{path.Join(bin, "mod_wsgi-express"), "start-server", "--port", strconv.Itoa(m.o.Port), "--log-to-terminal"}
	c.Cmd, c.WorkingDir, c.User, c.StopSignal = i.command, AppDir, m.o.User, "SIGTERM"
	c.ExposedPorts = map[string]struct{}{strconv.Itoa(m.o.Port) + "/tcp": {}}
	c.Healthcheck = m.healthcheck(bin)
	for k, v := range m.labels(i) {
		c.Labels[k] = v
	}
	return cfg, nil
}

// healthcheck is for engines that support one. OCI's configuration has no such field,
// and engines that do not know it ignore it. It starts only programs of the image.
func (m *maker) healthcheck(bin string) *v1.HealthConfig {
	test := []string{"CMD", path.Join(bin, "mod_wsgi-express"), "status", "--port", strconv.Itoa(m.o.Port)}
	if m.o.HealthPath != "" {
		// urlopen raises for every error status, which exits with 1.
		test = []string{
			"CMD", path.Join(bin, "python"), "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=4).read(1)",
			fmt.Sprintf("http://127.0.0.1:%d%s", m.o.Port, m.o.HealthPath),
		}
	}
	return &v1.HealthConfig{Test: test, Interval: 30 * time.Second, Timeout: 5 * time.Second, StartPeriod: 15 * time.Second, Retries: 3}
}

// labels are annotations of the image under their standard names
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
func (m *maker) labels(i *image) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.created":  m.o.Time.UTC().Format(time.RFC3339),
		"org.opencontainers.image.title":    "mod_wsgi application",
		"org.modwsgi.httpd.version":         i.in.Stage.HTTPD.Version,
		"org.modwsgi.version":               i.in.Stage.Module.Version,
		"org.modwsgi.python.version":        i.in.Stage.Module.Python.Version,
		"org.modwsgi.tool.version":          m.o.Tool,
		"org.opencontainers.image.licenses": expression(i.components),
	}
	if i.base != nil {
		all["org.opencontainers.image.base.name"] = i.base.name
		all["org.opencontainers.image.base.digest"] = i.base.digest.String()
		if local(i.base.name) {
			delete(all, "org.opencontainers.image.base.name") // it is a directory of the build machine
		}
	}
	for k, v := range m.o.Labels {
		all[k] = v
	}
	return all
}

// expression joins the licences of all components.
func expression(components []packaging.Component) string {
	var all []string
	for _, c := range components {
		if c.License != "" && !slices.Contains(all, c.License) && !strings.Contains(c.License, " ") {
			all = append(all, c.License)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " AND ")
}

// withEnv sets a variable, given the previous environment.
func withEnv(env []string, name string, value func(old string) string) []string {
	for k, v := range env {
		if old, ok := strings.CutPrefix(v, name+"="); ok {
			env[k] = name + "=" + value(old)
			return env
		}
	}
	return append(env, name+"="+value(""))
}

// build assembles an image and describes it.
func (m *maker) build(i *image) error {
	var adds []mutate.Addendum
	var all []*layer
	if i.base != nil {
		all = append(all, i.base.layers...)
	}
	for _, l := range append(all, i.layers...) {
		adds = append(adds, mutate.Addendum{Layer: l, MediaType: l.media})
	}
	manifest, config := types.OCIManifestSchema1, types.OCIConfigJSON
	if m.o.Docker {
		manifest, config = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifest), config), adds...)
	if err != nil {
		return err
	}
	computed, err := img.ConfigFile()
	if err != nil {
		return err
	}
	cfg, err := m.config(i)
	if err != nil {
		return err
	}
	cfg.RootFS = computed.RootFS
	for _, l := range i.layers {
		cfg.History = append(cfg.History, v1.History{Created: v1.Time{Time: m.o.Time}, CreatedBy: "modwsgi package oci", Comment: l.about})
	}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		return err
	}
	if !m.o.Docker {
		img = mutate.Annotations(img, m.labels(i)).(v1.Image)
	}
	i.image = img
	if i.digest, err = img.Digest(); err != nil {
		return err
	}
	return m.describe(i)
}

// describe makes the bill of materials and the provenance of an image, which are
// attached to it.
func (m *maker) describe(i *image) error {
	a := packaging.Artifact{
		Name: m.title(i.in.Stage), Kind: "oci", SHA256: i.digest.Hex, Project: "mod_wsgi-image", Version: i.in.Stage.Module.Version,
		Components: i.components, Inputs: i.in.Inputs, Parameters: m.parameters(), Environment: i.in.Facts,
	}
	maps.Copy(a.Parameters, i.in.Choices)
	var err error
	i.bom, err = sbom.JSON(sbom.Subject{Name: a.Project, Version: a.Version, PURL: m.purl(i), SHA256: a.SHA256, Time: m.o.Time, Tool: m.o.Tool}, i.components)
	if err != nil {
		return err
	}
	i.from, err = release.Provenance(a, release.Options{Time: m.o.Time, Tool: m.o.Tool, Builder: m.o.Builder, Parameters: m.o.Parameters})
	return err
}

// purl is the package URL of an image: its digest, and where it is pushed
// (https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md).
func (m *maker) purl(i *image) string {
	image, query := "mod_wsgi-image", "?arch="+i.platform.Architecture
	if m.o.Push != nil {
		repo := m.o.Push.ref.Repository
		image = path.Base(repo.RepositoryStr())
		query += "&repository_url=" + strings.ReplaceAll(repo.Name(), ":", "%3A")
	}
	return "pkg:oci/" + image + "@" + strings.ReplaceAll(i.digest.String(), ":", "%3A") + query
}

// secret matches names of variables whose values should stay secret.
var secret = regexp.MustCompile(`(?i)(secret|passw|token|credential|private|api_?key)`)

// parameters are the user's choices.
func (m *maker) parameters() map[string]string {
	all := map[string]string{
		"base": m.o.Base, "user": m.o.User, "port": strconv.Itoa(m.o.Port), "entry": m.o.Entry, "health_path": m.o.HealthPath, "args": strings.Join(m.o.Args, " "),
	}
	if local(m.o.Base) {
		all["base"], _, _ = strings.Cut(m.o.Base, ":")
	}
	if len(m.o.Env) > 0 { // the values are in the image
		all["env"] = strings.Join(slices.Sorted(maps.Keys(m.o.Env)), ",")
	}
	for _, i := range m.images {
		if i.base != nil {
			all["base_digest_"+i.platform.Architecture] = i.base.digest.String()
		}
	}
	for k, v := range all {
		if v == "" {
			delete(all, k)
		}
	}
	return all
}

// title is the first part of the artifact's name.
func (m *maker) title(s *packaging.Stage) string {
	return "mod_wsgi-" + s.Module.Version + "-httpd" + s.HTTPD.Version + "-" + s.Module.Python.ABI
}
