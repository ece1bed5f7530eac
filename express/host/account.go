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

// Account is the user that the application runs as. It is empty on systems that cannot
// change users.
type Account struct {
	User, Group string // in the form of httpd's User and Group directives
	UID, GID    int
	Groups      []int // supplementary groups, as set by initgroups(3)
	Other       bool  // not the current user
}

// ExampleUser returns an existing account that is commonly used for servers.
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
		return "list the groups of this machine with getent group and choose one, such as " + example + ", or create one: groupadd --system NAME"
	}
	return "list the accounts of this machine with getent passwd and choose one, such as " + example + ", or create one: useradd --system --user-group NAME"
}

// GroupNamed returns a group in the form of httpd's Group directive: its name or, if it
// has none, its number.
func GroupNamed(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil && g.Name != "" {
		return g.Name
	}
	return "#" + strconv.Itoa(gid)
}

// entry is an account of the system. Name is empty if only the number is known.
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
			// httpd accepts a number without an account, but needs a group for it.
			return entry{UID: uid}, nil //nolint:nilerr // an unknown number is not an error
		}
	} else if u, err = user.Lookup(name); err != nil {
		fields, gerr := getent(ctx, env, "passwd", name)
		if gerr != nil || len(fields) < 4 {
			return entry{}, fmt.Errorf("no such account: %q", name)
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
		return 0, fmt.Errorf("no such group: %q", name)
	}
	return number32(fields[2])
}

// getent looks up accounts and groups that are not in /etc/passwd and /etc/group.
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
		return 0, fmt.Errorf("%q is not a valid user or group ID", s)
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

// Self returns the account that the launcher runs as.
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

// Caller returns the account that determines the default server root.
func Caller() *Account { return &Account{Other: os.Geteuid() == 0} }

// Number returns the user ID of the application's account, or 0 if that is the current
// user.
func (a *Account) Number() int {
	if a.Other {
		return a.UID
	}
	return 0
}

// AsRoot reports whether the launcher runs as root.
func AsRoot() bool { return os.Geteuid() == 0 }
