package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"modwsgi/internal/run"
)

// Account is the user that the application runs as. It is empty where the system
// cannot change users.
type Account struct {
	User, Group string // as httpd's User and Group directives take them
	UID, GID    int
	Groups      []int // supplementary ones, as initgroups(3) would set them
	Other       bool  // another user than ourselves
}

// ExampleUser is an account that servers run as and that is there.
func ExampleUser() string {
	if _, err := user.Lookup("www-data"); err == nil {
		return "www-data"
	}
	return "nobody"
}

// AccountHint explains how to find or create an account or a group.
func AccountHint(kind string) string {
	example := ExampleUser()
	if kind == "group" {
		if _, err := user.LookupGroup(example); err != nil {
			example = "nogroup"
		}
		return "see the groups of this machine with getent group, take for example " + example + ", or make one: groupadd --system NAME"
	}
	return "see the accounts of this machine with getent passwd, take for example " + example + ", or make one: useradd --system --user-group NAME"
}

// GroupNamed is a group as httpd's Group directive takes it: by its name, by its
// number where it has none.
func GroupNamed(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil && g.Name != "" {
		return g.Name
	}
	return "#" + strconv.Itoa(gid)
}

// entry is an account of the system. An account that has only a number has no name.
type entry struct {
	Name     string
	UID, GID int
}

// FindUser finds an account by name or as #UID, as httpd's User directive does.
func FindUser(ctx context.Context, env []string, name string) (entry, error) {
	var u *user.User
	var err error
	if id, ok := strings.CutPrefix(name, "#"); ok {
		uid, err := number32(id)
		if err != nil {
			return entry{}, err
		}
		if u, err = user.LookupId(id); err != nil {
			// httpd takes a number without an account; its group must be said.
			return entry{UID: uid}, nil //nolint:nilerr // an unknown number is not an error
		}
	} else if u, err = user.Lookup(name); err != nil {
		fields, gerr := getent(ctx, env, "passwd", name)
		if gerr != nil || len(fields) < 4 {
			return entry{}, fmt.Errorf("there is no account %q", name)
		}
		u = &user.User{Username: name, Uid: fields[2], Gid: fields[3]}
	}
	uid, err1 := number32(u.Uid)
	gid, err2 := number32(u.Gid)
	return entry{Name: u.Username, UID: uid, GID: gid}, errors.Join(err1, err2)
}

// FindGroup finds a group by name or as #GID.
func FindGroup(ctx context.Context, env []string, name string) (int, error) {
	if id, ok := strings.CutPrefix(name, "#"); ok {
		return number32(id)
	}
	if g, err := user.LookupGroup(name); err == nil {
		return number32(g.Gid)
	}
	fields, err := getent(ctx, env, "group", name)
	if err != nil || len(fields) < 3 {
		return 0, fmt.Errorf("there is no group %q", name)
	}
	return number32(fields[2])
}

// getent asks for what /etc/passwd and /etc/group do not have.
func getent(ctx context.Context, env []string, database, key string) ([]string, error) {
	if strings.HasPrefix(key, "-") || strings.ContainsAny(key, ":\n\x00") {
		return nil, errors.New("not a name")
	}
	var r run.Runner
	out, err := r.Output(ctx, run.Cmd{Argv: []string{"getent", database, key}, Env: env})
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

func Supplementary(e entry, gid int) []int {
	groups := []int{gid}
	if e.Name == "" {
		return groups
	}
	u := &user.User{Username: e.Name, Uid: strconv.Itoa(e.UID), Gid: strconv.Itoa(gid)}
	ids, err := u.GroupIds()
	if err != nil {
		return groups
	}
	for _, id := range ids {
		if n, err := number32(id); err == nil && n != gid && n != e.GID {
			groups = append(groups, n)
		}
	}
	return groups
}

// Self is the account that the launcher runs as.
func Self() *Account {
	if !Accounts {
		return &Account{}
	}
	a := &Account{UID: os.Geteuid(), GID: os.Getegid()}
	a.User, a.Group = "#"+strconv.Itoa(a.UID), GroupNamed(a.GID)
	if u, err := user.LookupId(strconv.Itoa(a.UID)); err == nil && u.Username != "" {
		a.User = u.Username
	}
	return a
}

// Caller is the account by which the default server root was chosen.
func Caller() *Account { return &Account{Other: os.Geteuid() == 0} }

// Number is the application's account where it is another one than ours, else 0.
func (a *Account) Number() int {
	if a.Other {
		return a.UID
	}
	return 0
}

// AsRoot reports whether the launcher runs as root.
func AsRoot() bool { return os.Geteuid() == 0 }
