# make demo    from a fresh machine to a WSGI application that answers a request
# make quick   tests of a change that need only Go
# make test    every test that this machine can run; installs their prerequisites
GO ?= go
export CGO_ENABLED ?= 0
VERSION ?=
# The repository of catalogues that the programs use by default, and its root.json
# (docs/concepts/catalogue.md).
CATALOGUE_URL ?=
CATALOGUE_ROOT ?=
LDFLAGS = -s -w $(if $(VERSION),-X modwsgi/internal/version.Release=$(VERSION)) \
	$(if $(CATALOGUE_URL),-X modwsgi/internal/catalogue.DefaultURL=$(CATALOGUE_URL)) \
	$(if $(CATALOGUE_ROOT),-X modwsgi/internal/catalogue.DefaultRoot=$(shell base64 <'$(CATALOGUE_ROOT)' | tr -d '\n'))
PROGRAMS = modwsgi mod_wsgi-express mod_wsgi-apxs
TOOL = $(GO) tool -modfile=tools/lint/go.mod
# goreleaser needs a remote: without one it does not record the commit.
REMOTE = $(if $(shell git remote 2>/dev/null),,GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=file:///none)
GORELEASER = $(REMOTE) $(GO) tool -modfile=tools/go.mod goreleaser

.PHONY: build demo test quick unit acceptance torture systems consumers lint fmt prerequisites dist dist-files release check-release clean
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

prerequisites:
	@scripts/prerequisites

demo: prerequisites build
	@scripts/demo

# All tests, in a single run of the test runner.
test: prerequisites lint build
	@scripts/run-tests

# Tests that need only Go and no network: of what changed, and of everything.
quick:
	@GO='$(GO)' scripts/quick
unit:
	@GO='$(GO)' scripts/quick -a

# Only the tests that use real tools.
acceptance: prerequisites build
	@scripts/run-tests acceptance

# Kills, full disks, faulty mirrors, load. Takes half an hour unless TORTURE says
# otherwise (make torture TORTURE='-parts kill,disk -time 2h';
# docs/concepts/reliability.md).
torture: prerequisites build
	@TORTURE='$(TORTURE)' scripts/run-tests torture

# The main job on hosts with Debian 11 to sid, and their page in docs/. Takes an
# hour unless SUITES chooses some (make systems SUITES='trixie sid').
systems: prerequisites build
	@SUITES='$(SUITES)' scripts/run-tests systems

# Gives our artifacts to the tools of their users, and writes docs/packaging.md.
consumers: prerequisites build
	@scripts/consumers

FORBIDDEN = {p: '^archiver\.((\w+)\.)?(Archive|Unarchive|Extract|Walk|CompressFile|DecompressFile)$$', pkg: '^github\.com/mholt/archiver/v3$$', msg: 'path traversal (docs/decisions/0002-archiver.md): use the stream readers'}
SHELL_FREE = {p: '^context\.(Background|TODO)$$', msg: 'a context comes from cmd/'}
# gosec rules that are disabled, and what covers them instead. scripts/torture and
# scripts/bench/serve are excluded because they are tests that start arbitrary
# programs, and scripts/scandb because it is another module.
# G103 unsafe: used to overwrite secrets, and for memory shared with httpd (express/host)   G104 ignored errors: staticcheck and review; "_ =" is deliberate
# G115 integer conversions: in file formats             G122, G304, G703 paths from variables: checked by files_test.go
# G125 parts of URLs: validated when they are read      G204 subprocesses: only internal/run starts them (imports_test.go)
# G301, G302, G306 file modes: the serving account must read what is installed     G602 index out of range: false positives
GOSEC = -quiet -exclude-dir=scripts/torture -exclude-dir=scripts/bench/serve -exclude-dir=scripts/scandb -exclude=G103,G104,G115,G122,G125,G204,G301,G302,G304,G306,G602,G703
lint:
	@test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)" || { echo 'make fmt formats these' >&2; exit 1; }
	$(GO) vet -tags acceptance ./...
	GOOS=windows $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=linux GOARCH=arm $(GO) build ./cmd/...
	GOOS=linux GOARCH=s390x $(GO) build ./cmd/...
	$(TOOL) staticcheck -tags acceptance ./...
	$(TOOL) forbidigo -set_exit_status -analyze_types "$(FORBIDDEN)" ./...
	$(TOOL) forbidigo -set_exit_status -tests=false "$(SHELL_FREE)" ./detect/... ./httpdbuild/... ./modulebuild/... ./installer/... ./express/... ./internal/...
	$(TOOL) gosec $(GOSEC) ./...
	@scripts/deadcode
	$(GO) -C scripts/arrows vet . && $(GO) -C scripts/arrows test .
	@scripts/vulncheck
	$(GO) test .

fmt:
	$(TOOL) gofumpt -w .

# Builds the release of the tools for all platforms in dist/, then checks all of
# it. "make release" does the same for a tagged commit
# (docs/contributing/releasing.md). Builds are not parallel: goreleaser packs the
# programs in the order in which they finish, which would not be reproducible.
dist: dist-files
	@scripts/check-dist

dist-files:
	$(GORELEASER) release --snapshot --clean --parallelism 1
	@scripts/finish-dist

release:
	$(GORELEASER) release --clean --parallelism 1 --skip=publish,announce
	@scripts/finish-dist --sweep
	@scripts/check-dist

check-release:
	$(GORELEASER) check

clean:
	rm -rf bin dist
