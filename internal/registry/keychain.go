package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// Login names the variables with a user and a password for every registry.
type Login struct{ User, Password string }

func (l Login) hint() string {
	if l.User == "" {
		return ""
	}
	return ", or set " + l.User + " and " + l.Password
}

// Keychain finds credentials once per repository: in the caller's own variables,
// otherwise where docker and podman keep them. It implements go-containerregistry's
// interface with the caller's environment, where authn.DefaultKeychain uses the
// process's. It starts credential helpers through internal/run, with a time limit.
type Keychain struct {
	env    []string
	runner *run.Runner
	login  Login
	limit  time.Duration // for a credential helper
	mu     sync.Mutex
	known  map[string]credentials // by repository
}

// credentials are a user's credentials for one registry.
type credentials struct {
	user, password string
	token          string // an identity token, to be exchanged for others
	from           string // source for people
}

func (c credentials) some() bool { return c.user != "" || c.token != "" }

// NewKeychain returns a keychain. Nothing is read until a repository needs it. limit is
// how long a credential helper may take.
func NewKeychain(env []string, runner *run.Runner, login Login, limit time.Duration) *Keychain {
	return &Keychain{env: env, runner: runner, login: login, limit: limit, known: map[string]credentials{}}
}

// Resolve implements [authn.Keychain]. go-containerregistry calls ResolveContext
// instead wherever it has a context. Without one, only the time limit ends a helper.
func (k *Keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target) //permit:context.Background // the interface has none
}

// ResolveContext implements [authn.ContextKeychain].
func (k *Keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	c := k.find(ctx, target)
	if !c.some() {
		return authn.Anonymous, nil
	}
	if c.token != "" {
		return authn.FromConfig(authn.AuthConfig{IdentityToken: c.token}), nil
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: c.user, Password: c.password,
		Auth: base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password)), // used even if the password is empty
	}), nil
}

func (k *Keychain) find(ctx context.Context, target authn.Resource) credentials {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, known := k.known[target.String()]
	if !known {
		c = k.look(ctx, target)
		k.known[target.String()] = c
	}
	return c
}

func (k *Keychain) look(ctx context.Context, target authn.Resource) credentials {
	if k.login.User != "" {
		if user := run.Getenv(k.env, k.login.User); user != "" {
			return credentials{user: user, password: run.Getenv(k.env, k.login.Password), from: k.login.User}
		}
	}
	if text := run.Getenv(k.env, authVariable); text != "" {
		if c := k.fromConfig(ctx, target, authVariable, []byte(text)); c.some() {
			return c
		}
	}
	for _, file := range configFiles(k.env) {
		data, err := owned.ReadInput(file, maxConfig)
		if err != nil {
			continue
		}
		if c := k.fromConfig(ctx, target, file, data); c.some() {
			return c
		}
	}
	return credentials{}
}

// authVariable contains docker's configuration itself, as CI systems set it.
const authVariable = "DOCKER_AUTH_CONFIG"

// maxConfig is the maximum size of a configuration in bytes.
const maxConfig = 1 << 20

// configFiles returns where docker (config.json) and podman (auth.json, see
// containers-auth.json(5)) keep credentials, those named by a variable first.
func configFiles(env []string) []string {
	var out []string
	add := func(base string, below ...string) {
		if filepath.IsAbs(base) {
			out = append(out, filepath.Join(append([]string{base}, below...)...))
		}
	}
	add(run.Getenv(env, "DOCKER_CONFIG"), "config.json")
	add(run.Getenv(env, "REGISTRY_AUTH_FILE"))
	add(run.Getenv(env, "XDG_RUNTIME_DIR"), "containers", "auth.json")
	add(run.Getenv(env, "HOME"), ".docker", "config.json")
	add(run.Getenv(env, "XDG_CONFIG_HOME"), "containers", "auth.json")
	add(run.Getenv(env, "HOME"), ".config", "containers", "auth.json")
	return out
}

// config is the part of docker's configuration that is about credentials
// (https://docs.docker.com/reference/cli/docker/login/#credential-stores).
type config struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

var helperForm = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// fromConfig looks for the most specific entry. A helper for exactly this registry comes
// first, the general one last.
func (k *Keychain) fromConfig(ctx context.Context, target authn.Resource, file string, data []byte) credentials {
	var c config
	if json.Unmarshal(data, &c) != nil {
		return credentials{}
	}
	hosts := hostNames(target.RegistryStr())
	helper := ""
	for _, h := range hosts {
		if helper == "" {
			helper = c.CredHelpers[h]
		}
	}
	if helper == "" {
		for _, wanted := range scopes(target, hosts) {
			for key, a := range c.Auths {
				if entryName(key) != wanted {
					continue
				}
				out := credentials{user: a.Username, password: a.Password, token: a.IdentityToken, from: file}
				if text, err := base64.StdEncoding.DecodeString(a.Auth); err == nil && len(text) > 0 {
					out.user, out.password, _ = strings.Cut(string(text), ":")
				}
				if out.some() {
					return out
				}
			}
		}
		helper = c.CredsStore
	}
	if helper == "" || k.runner == nil || !helperForm.MatchString(helper) {
		return credentials{}
	}
	return k.fromHelper(ctx, "docker-credential-"+helper, hosts[0])
}

// hostNames returns the names that a registry has in configurations.
func hostNames(host string) []string {
	hub := []string{name.DefaultRegistry, "docker.io", "registry-1.docker.io"}
	if slices.Contains(hub, host) {
		return hub
	}
	return []string{host}
}

// scopes returns the names of entries that apply to a repository. podman has some for a
// part of a registry, of which the longest applies.
func scopes(target authn.Resource, hosts []string) []string {
	_, path, _ := strings.Cut(target.String(), "/")
	var out []string
	for ; path != ""; path = path[:max(0, strings.LastIndexByte(path, '/'))] {
		for _, h := range hosts {
			out = append(out, h+"/"+path)
		}
	}
	return append(out, hosts...)
}

// entryName returns the name of an entry without docker's decoration, as in
// https://registry.example.org/v1/.
func entryName(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	return strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
}

// fromHelper asks a credential helper
// (https://github.com/docker/docker-credential-helpers).
func (k *Keychain) fromHelper(ctx context.Context, program, host string) credentials {
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	if host == name.DefaultRegistry {
		host = authn.DefaultAuthKey
	}
	out, err := k.runner.Output(ctx, run.Cmd{Argv: []string{program, "get"}, Env: k.env, Stdin: strings.NewReader(host)})
	var said struct{ Username, Secret string }
	if err != nil || json.Unmarshal(bytes.TrimSpace(out), &said) != nil {
		return credentials{}
	}
	if said.Username == "<token>" {
		return credentials{token: said.Secret, from: program}
	}
	return credentials{user: said.Username, password: said.Secret, from: program}
}
