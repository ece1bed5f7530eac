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
// namespace. It is -1 outside a namespace, and if it is a real user of it
// (user_namespaces(7)).
var overflow = sync.OnceValue(func() int {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return -1
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return -1
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(text)))
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
		if err1 != nil || err2 != nil || first <= int64(uid) && int64(uid) < first+count {
			return -1
		}
	}
	return uid
})

// outside reports whether an owner is outside this user namespace. In a container without
// root's rights, directories above a mount appear that way, and whoever made the
// container has chosen them.
func outside(uid int) bool { return uid == overflow() && uid != os.Geteuid() }
