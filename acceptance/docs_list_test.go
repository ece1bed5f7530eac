package acceptance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"modwsgi/internal/pages"
)

// TestDocsRun runs the command lines of the documentation, page by page, as a reader
// would. This file names those that it leaves out, with the reasons. All of them,
// including those left out, are checked with the programs' parsers
// (TestCommandsOfThePages, TestDocsCommands).

// notRun are the pages, and the beginnings of commands on them, that are left out. An
// empty page means every page.
var notRun = []struct{ page, command, reason string }{
	{"docs/reference/modwsgi.md", "", "examples from the program's help, without the files that they name"},
	{"docs/getting-started/from-source.md", "", "building, the demo and the tests are what CI does"},
	{"docs/getting-started/installation.md", "", "needs a published release: TestBootstrap and TestInstallWithPip install one made here"},
	{"docs/guides/windows.md", "", "for Windows: TestWindows runs these commands with its own SDKs"},
	{"docs/guides/other-systems.md", "", "builds for other systems: TestOtherCPU, TestOlderGlibc, TestModulesForOtherSystems, TestDebForOlderDebian and TestPackagesForOtherCPU run commands like these"},
	{"docs/guides/containers.md", "", "needs a registry and an engine: TestImageFromNothing and TestImageOnBase build, push and run"},
	{"docs/guides/linux-packages.md", "", "installs packages on the machine: TestLinuxPackages and TestServices do that on a copy of it"},
	{"docs/guides/package-index.md", "", "needs wheels of a release: TestPipBuildsWithModwsgi makes them and runs these commands"},
	{"docs/guides/fleet.md", "", "needs several machines: TestShards and TestFleetExamples run these commands as their stand-ins"},
	{"docs/concepts/catalogue.md", "", "needs a repository and its keys: TestCatalogue makes one and runs these commands"},
	{"docs/contributing/catalogue.md", "", "reads upstream's servers: the tests of internal/catalogue/refresh imitate them"},
	{"docs/guides/publishing.md", "", "needs keys, an index and a registry: TestPublishIndex, TestPublishApt, TestPublishDnf and TestPublishOCI run commands like these"},
	{"docs/guides/publishing-wheels.md", "", "needs several Pythons, keys and a web server: TestWheels"},
	{"docs/guides/from-debian.md", "", "changes the system's Apache: TestSystemModulePackage and TestSystemApache do that on a copy"},
	{"docs/reference/matrix.md", "", "builds for several platforms: TestMatrix runs a file like it"},
	{"docs/reference/bootstrap.md", "", "needs a published release: TestBootstrap"},
	{"docs/contributing/releasing.md", "", "a release takes many minutes: TestDistIsReproducible"},
	{"docs/guides/monitoring.md", "", "shows a server that runs: TestStatusCounts asks one"},
	{"docs/guides/automatic-https.md", "", "needs a public name and an authority: TestCertificateIsObtained, with an authority of its own"},
	{"docs/guides/configuration-file.md", "", "needs a project and systemd: TestConfigurationFile, TestConfigSchema and TestConfigurationOnSystemd"},
	{"docs/concepts/reliability.md", "", "torture takes half an hour: TestTorture runs its short form"},
	{"docs/guides/serve.md", "", "needs projects of several frameworks: TestServeDjango, TestServeFlask, TestServePiped and TestServeHTTPS run commands like these"},
	{"docs/performance.md", "", "the benchmark takes half an hour: TestBenchServe runs a short form"},
	{"CONTRIBUTING.md", "", "the tests themselves"},

	{"README.md", "make ", "the demo and the tests are what CI does"},
	{"README.md", "modwsgi install --python .venv --with http2", "compiles another httpd: TestBuild"},
	{"README.md", "modwsgi install --python .venv --httpd system", "needs Debian's apache2-dev: TestSystemApache"},
	{"README.md", "modwsgi install --python .venv --offline", "needs a directory with archives: TestOfflineAndLocked"},
	{"README.md", "modwsgi package", "each format has its own test"},
	{"docs/reference/features.md", "modwsgi install", "compiles another httpd: TestBuild"},
	{"docs/guides/farm.md", "", "needs a compile farm: TestCompileFarm makes one and runs commands like these"},
	{"docs/guides/without-root.md", "loginctl", "needs a user's session of systemd"},
	{"docs/guides/without-root.md", "systemctl", "needs a user's session of systemd"},
	{"docs/guides/without-root.md", "modwsgi install --python ~/venv --offline", "needs a directory with archives: TestOfflineAndLocked"},
	{"docs/guides/systemd-and-tls.md", "useradd", "changes the machine's accounts"},
	{"docs/guides/systemd-and-tls.md", "systemctl", "needs systemd: TestSocketUnitOnSystemd runs units where there is one"},
	{"docs/guides/from-pip.md", ".venv/bin/pip install", "needs PyPI"},
	{"docs/guides/from-pip.md", ".venv/bin/pip uninstall", "needs PyPI"},
	{"docs/guides/flask.md", ".venv/bin/pip install", "needs PyPI: Debian's package is on the path instead"},
	{"docs/guides/django.md", ".venv/bin/pip install", "needs PyPI: Debian's package is on the path instead"},
	{"docs/getting-started/first-application.md", ".venv/bin/mod_wsgi-express start-server hello.wsgi --port 80 ", "a port that the machine may use"},
	{"docs/reference/mod_wsgi-express.md", "sudo", "a port that the machine may use"},
	{"docs/reference/mod_wsgi-express.md", ".venv/bin/mod_wsgi-express start-server --application-type module mysite.wsgi", "needs a Django project: the guide about Django has one"},
}

// whyNotRun returns the reason why a command is left out, "" for one that runs.
func whyNotRun(c pages.Command) string {
	for _, r := range notRun {
		if (r.page == "" || r.page == c.Page) && strings.HasPrefix(c.Text, r.command) {
			return r.reason
		}
	}
	return ""
}

// docsCommands returns the command lines of all pages, in order.
func docsCommands(t *testing.T) (names []string, commands map[string][]pages.Command, files map[string][]pages.Block) {
	t.Helper()
	all, err := pages.Read("..")
	if err != nil {
		t.Fatal(err)
	}
	commands, files = map[string][]pages.Command{}, map[string][]pages.Block{}
	for _, p := range all {
		for _, b := range p.Blocks() {
			commands[p.Name] = append(commands[p.Name], b.Commands()...)
			if b.File != "" {
				files[p.Name] = append(files[p.Name], b)
			}
		}
		if len(commands[p.Name]) > 0 {
			names = append(names, p.Name)
		}
	}
	return names, commands, files
}

// TestDocsReasons: each entry of the list leaves out something, and names existing
// tests.
func TestDocsReasons(t *testing.T) {
	names, commands, _ := docsCommands(t)
	used, runs := map[int]bool{}, 0
	for _, name := range names {
		for _, c := range commands[name] {
			left := false
			for i, r := range notRun {
				if (r.page == "" || r.page == c.Page) && strings.HasPrefix(c.Text, r.command) {
					used[i], left = true, true
				}
			}
			if !left {
				runs++
			}
		}
	}
	there := declaredTests(t)
	for i, r := range notRun {
		if !used[i] {
			t.Errorf("no command on %s begins with %q", r.page, r.command)
		}
		for _, test := range regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(r.reason, -1) {
			if !there[test] {
				t.Errorf("%s: %s does not exist", r.page, test)
			}
		}
	}
	if runs < 40 {
		t.Errorf("only %d commands are run", runs)
	}
}

// declaredTests are the names of all tests of the module.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	out, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		for _, m := range declared.FindAllStringSubmatch(string(data), -1) {
			out[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
