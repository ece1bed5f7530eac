//go:build unix

package owned

import (
	"os"
	"os/user"
	"strconv"
	"strings"
)

// The files that list the members of groups. Groups of directory services are not in
// them, and are assumed to have other members.
var groupFile, passwdFile = "/etc/group", "/etc/passwd"

// alone reports whether a group has no members but this user, root and the account also,
// as the private group that many systems give each user.
func alone(gid, also int) bool {
	users := usersOf(passwdFile)
	if users == nil {
		return false
	}
	for _, u := range users {
		if u.gid == gid && !us(u.uid, also) && !(gid == 0 && ofRootsGroup[u.name]) {
			return false
		}
	}
	members, found := membersOf(groupFile, gid)
	if !found {
		return false
	}
	for _, name := range members {
		u, known := users[name]
		if !known || !us(u.uid, also) {
			return false
		}
	}
	return true
}

// ofRootsGroup are accounts without a shell whose group is root's on systems that follow
// Red Hat's /etc/passwd.
var ofRootsGroup = map[string]bool{"sync": true, "shutdown": true, "halt": true, "operator": true}

type passwd struct {
	name     string
	uid, gid int
}

// usersOf reads passwd(5); nil if it cannot be read.
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

// membersOf reads group(5). Several lines may describe one group.
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
