# make demo    a fresh machine to a WSGI application that answers
# make quick   the tests that need nothing but Go
# make test    every test that this machine can run, with prerequisites
GO ?= go
export CGO_ENABLED ?= 0
VERSION ?=
LDFLAGS = -s -w $(if $(VERSION),-X modwsgi/internal/version.Release=$(VERSION))
PROGRAMS = modwsgi mod_wsgi-express mod_wsgi-apxs
TOOL = $(GO) tool -modfile=tools/lint/go.mod
# Without any remote the release tool would take the commit for unknown.
REMOTE = $(if $(shell git remote 2>/dev/null),,GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=file:///none)
GORELEASER = $(REMOTE) $(GO) tool -modfile=tools/go.mod goreleaser

.PHONY: build demo test quick unit acceptance torture lint fmt prerequisites dist dist-files release check-release clean
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

prerequisites:
	@scripts/prerequisites

demo: prerequisites build
	@scripts/demo

# Everything, in one run of the test runner.
test: prerequisites lint build
	@scripts/run-tests

# The tests that need no tool but Go and no network.
quick:
	$(GO) test -short -vet=off ./...
unit: quick

# Only the tests on real tools.
acceptance: prerequisites build
	@scripts/run-tests acceptance

# Kills, full disks, bad mirrors, load: half an hour, or what TORTURE says
# (make torture TORTURE='-parts kill,disk -time 2h'; docs/concepts/reliability.md).
torture: prerequisites build
	@TORTURE='$(TORTURE)' scripts/run-tests torture

FORBIDDEN = {p: '^archiver\.((\w+)\.)?(Archive|Unarchive|Extract|Walk|CompressFile|DecompressFile)$$', pkg: '^github\.com/mholt/archiver/v3$$', msg: 'path traversal (docs/decisions/0002-archiver.md): use the stream readers'}
SHELL_FREE = {p: '^context\.(Background|TODO)$$', msg: 'a context comes from cmd/'}
# Rules of gosec that say nothing here:
# scripts/torture starts what it is told to: it is a test.
# G103 unsafe: in one file, for overwriting secrets     G104 dropped errors: staticcheck and review; "_ =" is deliberate
# G115 conversions of integers: file formats            G122, G304, G703 paths in variables: files_test.go decides on these
# G125 parts of URLs: checked where they are read       G204 started programs: internal/run alone, imports_test.go
# G301, G302, G306 modes: what is installed is read by the user that serves     G602 index out of range: false alarms
GOSEC = -quiet -exclude-dir=scripts/torture -exclude=G103,G104,G115,G122,G125,G204,G301,G302,G304,G306,G602,G703
lint:
	@test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)" || { echo 'make fmt formats these' >&2; exit 1; }
	$(GO) vet -tags acceptance ./...
	GOOS=windows $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
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

# What is released of the tools, for all platforms, in dist/; then everything in
# it is looked at. "make release" is the same for a commit with a tag (docs/contributing/releasing.md).
# One build at a time: the release tool packs programs in the order in which they
# were finished, and the archives would not be the same each time.
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
