//go:build unix

package express

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// account is the user as whom the application runs.
type account struct {
	user, group string // as httpd's User and Group directives take them
	uid, gid    int
	groups      []int // supplementary ones, as initgroups(3) would set them
	other       bool  // another user than ourselves
}

// findAccount tells as whom the application runs: ourselves, or, as root, whom
// --user and --group name. Names of accounts that /etc/passwd does not have are
// asked of getent.
func (p *Program) findAccount(ctx context.Context, s *Server) (*account, error) {
	if os.Geteuid() != 0 {
		return p.self(ctx, s), nil
	}
	name, byUser := said(p.Env, config.User, config.User.In(s), "USER")
	group, byGroup := said(p.Env, config.Group, config.Group.In(s), "GROUP")
	if name == "" {
		return nil, fault.New(fault.Usage, p.userHint(s, exampleUser()), "option --user is required when started as root: the application must not run as root")
	}
	a := &account{user: name, other: true}
	entry, err := p.passwd(ctx, name)
	if err != nil {
		return nil, fault.New(fault.Usage, accountHint("user"), "%s: %w", byUser, err)
	}
	a.uid, a.gid = entry.uid, entry.gid
	if entry.name == "" && group == "" {
		return nil, fault.New(fault.Usage, "", "%s: there is no account with the number %d, so --group is required too", byUser, a.uid)
	}
	if group != "" {
		if a.gid, err = p.groupID(ctx, group); err != nil {
			return nil, fault.New(fault.Usage, accountHint("group"), "%s: %w", byGroup, err)
		}
	}
	if a.uid == 0 {
		return nil, fault.New(fault.Usage, accountHint("user"), "%s: %s is root; the application must not run as root", byUser, name)
	}
	a.group = group
	if a.group == "" {
		a.group = groupNamed(a.gid)
	}
	a.groups = supplementary(entry, a.gid)
	return a, nil
}

// said is the value of an option, or, where it was not given, of the variables
// that upstream's launcher reads for it; by tells which of them, for messages.
func said(env []string, option option.Ref, value, variable string) (chosen, by string) {
	if value != "" {
		return value, "option " + option.Flag()
	}
	for _, prefix := range []string{"MOD_WSGI_", "MOD_WSGI_RUN_", "WSGI_RUN_"} {
		if v := run.Getenv(env, prefix+variable); v != "" {
			return v, "the environment variable " + prefix + variable
		}
	}
	return "", "option " + option.Flag()
}

// exampleUser is an account that servers run as and that is there.
func exampleUser() string {
	if _, err := user.Lookup("www-data"); err == nil {
		return "www-data"
	}
	return "nobody"
}

// accountHint says how to get an account, or a group, that there is.
func accountHint(kind string) string {
	example := exampleUser()
	if kind == "group" {
		if _, err := user.LookupGroup(example); err != nil {
			example = "nogroup"
		}
		return "see the groups of this machine with getent group, take for example " + example + ", or make one: groupadd --system NAME"
	}
	return "see the accounts of this machine with getent passwd, take for example " + example + ", or make one: useradd --system --user-group NAME"
}

// groupNamed is a group as httpd's Group directive takes it: by its name, by its
// number where it has none.
func groupNamed(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil && g.Name != "" {
		return g.Name
	}
	return "#" + strconv.Itoa(gid)
}

// userHint is the command again, with a user; but values of variables, which may
// be secrets, are not shown.
func (p *Program) userHint(s *Server, example string) string {
	if len(config.Setenv.In(s)) > 0 {
		return "add for example --user " + example
	}
	line := append([]string{"mod_wsgi-express"}, p.Args...)
	for i, w := range line {
		line[i] = run.Quote(w)
	}
	return "for example: " + strings.Join(line, " ") + " --user " + example
}

func (p *Program) self(ctx context.Context, s *Server) *account {
	a := &account{uid: os.Geteuid(), gid: os.Getegid()}
	a.user, a.group = "#"+strconv.Itoa(a.uid), groupNamed(a.gid)
	if u, err := user.LookupId(strconv.Itoa(a.uid)); err == nil && u.Username != "" {
		a.user = u.Username
	}
	if config.User.In(s) != "" {
		if e, err := p.passwd(ctx, config.User.In(s)); err != nil || e.uid != a.uid {
			p.warn("--user has no effect: only root can run the application as another user")
		}
	}
	if config.Group.In(s) != "" {
		if gid, err := p.groupID(ctx, config.Group.In(s)); err != nil || gid != a.gid {
			p.warn("--group has no effect: only root can run the application with another group")
		}
	}
	return a
}

type passwdEntry struct {
	name     string
	uid, gid int
}

// passwd finds an account by name or as #UID, as httpd's User directive does.
func (p *Program) passwd(ctx context.Context, name string) (passwdEntry, error) {
	var u *user.User
	var err error
	if id, ok := strings.CutPrefix(name, "#"); ok {
		uid, err := number32(id)
		if err != nil {
			return passwdEntry{}, err
		}
		if u, err = user.LookupId(id); err != nil {
			// httpd takes a number without an account; its group must be said.
			return passwdEntry{uid: uid}, nil //nolint:nilerr // an unknown number is not an error
		}
	} else if u, err = user.Lookup(name); err != nil {
		fields, gerr := p.getent(ctx, "passwd", name)
		if gerr != nil || len(fields) < 4 {
			return passwdEntry{}, fmt.Errorf("there is no account %q", name)
		}
		u = &user.User{Username: name, Uid: fields[2], Gid: fields[3]}
	}
	uid, err1 := number32(u.Uid)
	gid, err2 := number32(u.Gid)
	return passwdEntry{name: u.Username, uid: uid, gid: gid}, errors.Join(err1, err2)
}

func (p *Program) groupID(ctx context.Context, name string) (int, error) {
	if id, ok := strings.CutPrefix(name, "#"); ok {
		return number32(id)
	}
	if g, err := user.LookupGroup(name); err == nil {
		return number32(g.Gid)
	}
	fields, err := p.getent(ctx, "group", name)
	if err != nil || len(fields) < 3 {
		return 0, fmt.Errorf("there is no group %q", name)
	}
	return number32(fields[2])
}

func (p *Program) getent(ctx context.Context, database, key string) ([]string, error) {
	if strings.HasPrefix(key, "-") || strings.ContainsAny(key, ":\n\x00") {
		return nil, errors.New("not a name")
	}
	var r run.Runner
	out, err := r.Output(ctx, run.Cmd{Argv: []string{"getent", database, key}, Env: p.Env})
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSpace(string(out)), ":"), nil
}

func number32(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not the number of an account or group", s)
	}
	return int(n), nil
}

func supplementary(e passwdEntry, gid int) []int {
	groups := []int{gid}
	if e.name == "" {
		return groups
	}
	u := &user.User{Username: e.name, Uid: strconv.Itoa(e.uid), Gid: strconv.Itoa(gid)}
	ids, err := u.GroupIds()
	if err != nil {
		return groups
	}
	for _, id := range ids {
		if n, err := number32(id); err == nil && n != gid && n != e.gid {
			groups = append(groups, n)
		}
	}
	return groups
}

// serviceAccounts checks the accounts of --service-user and --service-group, and
// that these can reach what their services need.
func (p *Program) serviceAccounts(ctx context.Context, i *instance) error {
	for _, v := range config.ServiceGroup.In(i) {
		if _, err := p.groupID(ctx, v[1]); err != nil {
			return fault.New(fault.Usage, accountHint("group"), "option --service-group: %w", err)
		}
	}
	for _, v := range config.ServiceUser.In(i) { // httpd looks for the name also where it has no effect
		if _, err := p.passwd(ctx, v[1]); err != nil {
			return fault.New(fault.Usage, accountHint("user"), "option --service-user: %w", err)
		}
	}
	if os.Geteuid() != 0 {
		if len(config.ServiceUser.In(i))+len(config.ServiceGroup.In(i)) > 0 {
			p.warn("--service-user and --service-group have no effect: only root can run a service as somebody else")
		}
		return nil
	}
	for _, s := range config.ServiceScript.In(i) {
		name := lastOf(config.ServiceUser.In(i), s[0])
		if name == "" {
			continue
		}
		entry, err := p.passwd(ctx, name)
		if err != nil {
			return fault.New(fault.Usage, accountHint("user"), "option --service-user: %w", err)
		}
		if entry.uid == 0 {
			return fault.New(fault.Usage, "", "option --service-user: %s is root; the module runs no service as root", name)
		}
		a := &account{user: name, uid: entry.uid, gid: entry.gid, other: true}
		if g := lastOf(config.ServiceGroup.In(i), s[0]); g != "" {
			a.gid, _ = p.groupID(ctx, g)
		} else {
			a.gid = i.account.gid
		}
		a.groups = supplementary(entry, a.gid)
		if err := checkAccess(a, []need{
			{i.in.home, "the Python environment", false},
			{i.in.stdlib, "Python's standard library", true},
			{i.in.site, "the installed packages", true},
			{i.Work, "the working directory (--working-directory)", false},
			{i.FromLaunch(s[1]), "the script of the service " + s[0], true},
		}); err != nil {
			return err
		}
	}
	return nil
}
