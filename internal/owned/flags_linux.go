package owned

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// pathOnly opens a directory that may be entered but not read.
const pathOnly = unix.O_PATH

// hasACL reports whether a file has an access control list, whose entries the mode shows
// as the group's (acl(5)). Nobody else can exchange the name.
func hasACL(path string) bool {
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false
	}
	return err != nil || n > 0
}

// overflow is the apparent owner of files whose owner does not exist in this user
// namespace, and overflowGroup their apparent group. They are -1 outside a namespace, and
// if they are real ids of it (user_namespaces(7)).
var (
	overflow      = sync.OnceValue(func() int { return unmapped("/proc/self/uid_map", "/proc/sys/kernel/overflowuid") })
	overflowGroup = sync.OnceValue(func() int { return unmapped("/proc/self/gid_map", "/proc/sys/kernel/overflowgid") })
)

// unmapped returns the id in the file substitute, unless the map has it.
func unmapped(mapped, substitute string) int {
	data, err := os.ReadFile(mapped)
	if err != nil {
		return -1
	}
	text, err := os.ReadFile(substitute)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 {
			return -1
		}
		first, err1 := strconv.ParseInt(fields[0], 10, 64)
		count, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err1 != nil || err2 != nil || first <= int64(id) && int64(id) < first+count {
			return -1
		}
	}
	return id
}

// outside reports whether an owner is outside this user namespace. In a container without
// root's rights, directories above a mount appear that way, and whoever made the
// container has chosen them.
func outside(uid int) bool { return uid == overflow() && uid != os.Geteuid() }

// outsideGroup reports whether a group is outside this user namespace: its members are
// unknown.
func outsideGroup(gid int) bool { return gid == overflowGroup() }
