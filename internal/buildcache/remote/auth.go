package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/run"
)

// credentials are a user's at one registry.
type credentials struct {
	user, password string
	token          string // an identity token, to be exchanged for others
	from           string // where they are from, for people
}

func (c *credentials) some() bool { return c != nil && (c.user != "" || c.token != "") }

// credentials finds them once: in our own variables, else where docker and
// podman keep them.
func (r *registry) credentials(ctx context.Context) *credentials {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.creds == nil {
		r.creds = r.findCredentials(ctx)
	}
	return r.creds
}

func (r *registry) findCredentials(ctx context.Context) *credentials {
	if user := run.Getenv(r.o.Env, "MODWSGI_CACHE_USERNAME"); user != "" {
		return &credentials{user: user, password: run.Getenv(r.o.Env, "MODWSGI_CACHE_PASSWORD"), from: "MODWSGI_CACHE_USERNAME"}
	}
	for _, name := range configFiles(r.o.Env) {
		data, err := readLimited(name, 1<<20)
		if err != nil {
			continue
		}
		if c := r.fromConfig(ctx, name, data); c.some() {
			return c
		}
	}
	return &credentials{}
}

// configFiles are where docker (config.json) and podman (auth.json, see
// containers-auth.json(5)) keep credentials.
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
	return out
}

// dockerConfig is the part of docker's configuration that is about credentials
// (https://docs.docker.com/reference/cli/docker/login/#credential-stores).
type dockerConfig struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

func (r *registry) fromConfig(ctx context.Context, name string, data []byte) *credentials {
	var c dockerConfig
	if json.Unmarshal(data, &c) != nil {
		return nil
	}
	names := []string{r.host, "https://" + r.host, "http://" + r.host, "https://" + r.host + "/v1/", "https://" + r.host + "/v2/"}
	if r.host == "docker.io" || r.host == "registry-1.docker.io" {
		names = append(names, "https://index.docker.io/v1/", "index.docker.io")
	}
	helper := c.CredHelpers[r.host]
	if helper == "" {
		for _, n := range names {
			a, ok := c.Auths[n]
			if !ok {
				continue
			}
			out := &credentials{user: a.Username, password: a.Password, token: a.IdentityToken, from: name}
			if plain, err := base64.StdEncoding.DecodeString(a.Auth); err == nil && len(plain) > 0 {
				out.user, out.password, _ = strings.Cut(string(plain), ":")
			}
			if out.some() {
				return out
			}
		}
		helper = c.CredsStore
	}
	if helper == "" || r.o.Runner == nil || !helperForm.MatchString(helper) {
		return nil
	}
	return r.fromHelper(ctx, "docker-credential-"+helper)
}

var helperForm = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// fromHelper asks a credential helper
// (https://github.com/docker/docker-credential-helpers).
func (r *registry) fromHelper(ctx context.Context, program string) *credentials {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	out, err := r.o.Runner.Output(ctx, run.Cmd{Argv: []string{program, "get"}, Env: r.o.Env, Stdin: strings.NewReader(r.host)})
	var said struct{ Username, Secret string }
	if err != nil || json.Unmarshal(bytes.TrimSpace(out), &said) != nil {
		return nil
	}
	if said.Username == "<token>" {
		return &credentials{token: said.Secret, from: program}
	}
	return &credentials{user: said.Username, password: said.Secret, from: program}
}

// authorization is what was learned for an action.
func (r *registry) authorization(action string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens[action]
}

// authorize answers a challenge (RFC 9110 11.6.1; the token way is
// https://distribution.github.io/distribution/spec/auth/token/).
func (r *registry) authorize(ctx context.Context, action string, challenges []string) error {
	c := r.credentials(ctx)
	for _, text := range challenges {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		var auth string
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			token, err := r.exchange(ctx, action, parameters(rest), c)
			if err != nil {
				return err
			}
			auth = "Bearer " + token
		case strings.EqualFold(scheme, "Basic") && c.user != "":
			auth = basic(c)
		default:
			continue
		}
		r.mu.Lock()
		r.tokens[action] = auth
		r.mu.Unlock()
		return nil
	}
	return r.refusal(ctx, http.StatusUnauthorized, "", "")
}

func basic(c *credentials) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password))
}

var parameter = regexp.MustCompile(`([a-zA-Z_]+)="([^"]*)"`)

func parameters(text string) map[string]string {
	out := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(text, 16) {
		out[strings.ToLower(m[1])] = m[2]
	}
	return out
}

// exchange gets a token for an action.
func (r *registry) exchange(ctx context.Context, action string, p map[string]string, c *credentials) (string, error) {
	u, err := url.Parse(p["realm"])
	if err != nil || u.Host == "" {
		return "", errors.New("the registry does not say where to log in")
	}
	if err := r.allowed(u); err != nil {
		return "", err
	}
	form := url.Values{"service": {p["service"]}, "scope": {"repository:" + r.repo + ":" + action}}
	var req *http.Request
	if c.token != "" {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", c.token)
		form.Set("client_id", "modwsgi")
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	} else {
		u.RawQuery = form.Encode()
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err == nil && c.user != "" {
			req.Header.Set("Authorization", basic(c))
		}
	}
	if err != nil {
		return "", errors.New("the registry does not say where to log in")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("log in: %w", plain(ctx, err))
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return "", r.refusal(ctx, resp.StatusCode, "", "")
	}
	var said struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	body := r.patient(resp.Body)
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("log in: %w", plain(ctx, err))
	}
	if json.Unmarshal(data, &said) != nil || said.Token+said.AccessToken == "" {
		return "", errors.New("log in: the answer has no token")
	}
	if said.Token == "" {
		said.Token = said.AccessToken
	}
	return said.Token, nil
}
