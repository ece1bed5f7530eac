//go:build unix

package owned

import (
	"os"
	"os/user"
	"strconv"
	"strings"
)

// The files that say who is in a group. Groups of directory services are not in
// them, and are taken for groups with others in them.
var groupFile, passwdFile = "/etc/group", "/etc/passwd"

// alone reports whether a group has no member but this user and root, as the
// private group has that many systems give each user.
func alone(gid int) bool {
	users := usersOf(passwdFile)
	if users == nil {
		return false
	}
	for _, u := range users {
		if u.gid == gid && !us(u.uid) && !(gid == 0 && ofRootsGroup[u.name]) {
			return false
		}
	}
	members, found := membersOf(groupFile, gid)
	if !found {
		return false
	}
	for _, name := range members {
		u, known := users[name]
		if !known || !us(u.uid) {
			return false
		}
	}
	return true
}

// ofRootsGroup are accounts without a shell whose group is root's on systems that
// follow Red Hat's /etc/passwd.
var ofRootsGroup = map[string]bool{"sync": true, "shutdown": true, "halt": true, "operator": true}

type passwd struct {
	name     string
	uid, gid int
}

// usersOf reads passwd(5); nil where it cannot be read.
func usersOf(file string) map[string]passwd {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	users := map[string]passwd{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if err1 == nil && err2 == nil {
			users[f[0]] = passwd{f[0], uid, gid}
		}
	}
	return users
}

// membersOf reads group(5). Several lines may be of one group.
func membersOf(file string, gid int) (members []string, found bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || f[2] != strconv.Itoa(gid) {
			continue
		}
		found = true
		for name := range strings.SplitSeq(f[3], ",") {
			if name != "" {
				members = append(members, name)
			}
		}
	}
	return members, found
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil && g.Name != "" {
		return g.Name
	}
	return strconv.Itoa(gid)
}
