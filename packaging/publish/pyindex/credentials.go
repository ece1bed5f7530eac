package pyindex

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// Variables with credentials. Those of twine come second, because CI jobs have them.
const (
	TokenVariable    = "MODWSGI_INDEX_TOKEN" // #nosec G101 -- a name
	UserVariable     = "MODWSGI_INDEX_USERNAME"
	PasswordVariable = "MODWSGI_INDEX_PASSWORD" // #nosec G101 -- a name
	twineUser        = "TWINE_USERNAME"
	twinePassword    = "TWINE_PASSWORD"
)

// tokenUser is the user name that PyPI expects with a token.
const tokenUser = "__token__"

// maxConfig is the maximum size in bytes of a file with credentials.
const maxConfig = 1 << 20

// login is a user and a password, and where they are from.
type login struct{ user, password, from string }

func (l login) some() bool { return l.user != "" || l.password != "" }

// hide removes the credentials from a text of the server, which may repeat what it got.
func (l login) hide(text string) string {
	if l.password == "" {
		return text
	}
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(l.user + ":" + l.password)), l.password, url.QueryEscape(l.password)} {
		text = strings.ReplaceAll(text, secret, "…")
	}
	return text
}

// findLogin looks for credentials of the index, in this order: the file of
// --index-token-file, modwsgi's variables, twine's, ~/.pypirc and ~/.netrc.
func findLogin(o *Options, to *url.URL) (login, error) {
	if o.TokenFile != "" {
		data, err := owned.ReadSecret(o.TokenFile, maxConfig)
		if err != nil {
			return login{}, fault.New(fault.Usage, fault.HintOr(err, "name the file whose first line is the token"), "read --index-token-file: %w", err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if first = strings.TrimSpace(first); first == "" {
			return login{}, fault.New(fault.Usage, "put the token into its first line", "--index-token-file %s is empty", o.TokenFile)
		}
		return login{tokenUser, first, "--index-token-file"}, nil
	}
	if v := run.Getenv(o.Env, TokenVariable); v != "" {
		return login{tokenUser, v, TokenVariable}, nil
	}
	for _, names := range [][2]string{{UserVariable, PasswordVariable}, {twineUser, twinePassword}} {
		user, password := run.Getenv(o.Env, names[0]), run.Getenv(o.Env, names[1])
		if password != "" && user == "" {
			user = tokenUser
		}
		if user != "" {
			return login{user, password, names[0]}, nil
		}
	}
	home := run.Getenv(o.Env, "HOME")
	if l, err := fromFile(filepath.Join(home, ".pypirc"), home != "", func(text string) login { return fromPypirc(text, to) }); err != nil || l.some() {
		return l, err
	}
	return hostLogin(o, to.Hostname())
}

// hostLogin looks for credentials of a host in netrc, as curl and pip do.
func hostLogin(o *Options, host string) (login, error) {
	file, home := run.Getenv(o.Env, "NETRC"), run.Getenv(o.Env, "HOME")
	if file == "" && home != "" {
		file = filepath.Join(home, ".netrc")
	}
	return fromFile(file, file != "", func(text string) login { return fromNetrc(text, host) })
}

// fromFile reads credentials from a file that need not exist. One that others can read is
// only an error if it has what is looked for.
func fromFile(file string, wanted bool, find func(text string) login) (login, error) {
	if !wanted {
		return login{}, nil
	}
	data, err := owned.ReadInput(file, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return login{}, nil
	}
	if err != nil {
		return login{}, fault.New(fault.Usage, fault.HintOf(err), "read credentials: %w", err)
	}
	l := find(string(data))
	if !l.some() {
		return l, nil
	}
	if _, err := owned.ReadSecret(file, maxConfig); err != nil {
		return login{}, fault.New(fault.Usage, fault.HintOr(err, "chmod 600 "+run.Quote(file)), "read credentials: %w", err)
	}
	l.from = file
	return l, nil
}

// fromPypirc reads the section whose repository is the address
// (https://packaging.python.org/en/latest/specifications/pypirc/).
func fromPypirc(text string, to *url.URL) login {
	sections, at := map[string]map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			at = line[1 : len(line)-1]
			sections[at] = map[string]string{}
		case sections[at] != nil:
			if name, value, ok := cutAny(line, "=:"); ok {
				sections[at][strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
			}
		}
	}
	defaults := map[string]string{"pypi": "https://upload.pypi.org/legacy/", "testpypi": "https://test.pypi.org/legacy/"}
	same := func(address string) bool {
		u, err := url.Parse(address)
		return err == nil && u.Scheme == to.Scheme && u.Host == to.Host && strings.TrimRight(u.Path, "/") == strings.TrimRight(to.Path, "/")
	}
	for name, s := range sections {
		address := s["repository"]
		if address == "" {
			address = defaults[name]
		}
		if address != "" && same(address) && s["password"] != "" {
			user := s["username"]
			if user == "" {
				user = tokenUser
			}
			return login{user: user, password: s["password"]}
		}
	}
	return login{}
}

func cutAny(s, separators string) (before, after string, found bool) {
	if i := strings.IndexAny(s, separators); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// fromNetrc reads the entry of a host, or the default one
// (https://everything.curl.dev/usingcurl/netrc.html).
func fromNetrc(text, host string) login {
	words := bufio.NewScanner(strings.NewReader(text))
	words.Split(bufio.ScanWords)
	next := func() string {
		if words.Scan() {
			return words.Text()
		}
		return ""
	}
	var found login
	for applies := false; ; {
		switch word := next(); word {
		case "":
			return found
		case "machine", "default":
			if found.some() {
				return found
			}
			applies = word == "default" || next() == host
		case "login":
			if user := next(); applies {
				found.user = user
			}
		case "password":
			if password := next(); applies {
				found.password = password
			}
		}
	}
}
