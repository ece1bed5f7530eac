GO ?= go
export CGO_ENABLED ?= 0
LDFLAGS = -s -w
PROGRAMS = modwsgi mod_wsgi-express mod_wsgi-apxs

.PHONY: build
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
