//go:build unix

package prove

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"modwsgi/internal/run"
)

// servingAccount returns the account to run a throwaway server as: nil for the current
// user. Root gets another one, since httpd refuses to serve as root.
func servingAccount() (*run.Account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if !run.CanSwitch() {
		return nil, &NotTried{
			"httpd does not serve as root, and this root may not run programs as another user (CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_KILL)",
			"run it as an ordinary user, or give the container these capabilities; then run modwsgi verify",
		}
	}
	account := privateAccount()
	if account == nil {
		return nil, &NotTried{
			"httpd does not serve as root, and no other user id is free in this user namespace",
			"run it as an ordinary user, or map more users into the container; then run modwsgi verify",
		}
	}
	return account, nil
}

// idRanges are the ids for a private account, best first. No known system or directory
// service assigns them to users, groups, services or containers
// (https://systemd.io/UIDS-GIDS/). The second range is for containers, which often have
// only 65,536 ids, and the third for those with fewer.
var idRanges = [][2]uint32{{0x78000000, 0x7ffdffff}, {60706, 61183}, {1, 65519}}

// privateAccount chooses an id that is neither a user nor a group, and that nobody can
// become or runs as. "nobody" is unsuitable: other services run as that user, and could
// signal the server, connect to the sockets and exchange the files of its account. It
// returns nil if no such id exists.
func privateAccount() *run.Account {
	users, groups := idsOf("/proc/self/uid_map"), idsOf("/proc/self/gid_map")
	delegated := append(subordinate("/etc/subuid"), subordinate("/etc/subgid")...)
	running := runningIDs()
	for _, r := range idRanges {
		for range 200 {
			id := r[0] + random(r[1]-r[0]+1)
			if contains(users, id) && contains(groups, id) && !contains(delegated, id) && !running[id] && !named(id) {
				return &run.Account{UID: id, GID: id}
			}
		}
	}
	return nil
}

func random(below uint32) uint32 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return uint32(binary.NativeEndian.Uint64(b[:]) % uint64(below))
}

// named reports whether a user or a group has the id.
func named(id uint32) bool {
	text := strconv.FormatUint(uint64(id), 10)
	if _, err := user.LookupId(text); err == nil {
		return true
	}
	_, err := user.LookupGroupId(text)
	return err == nil
}

// span is a range of ids, starting at first.
type span struct{ first, count uint64 }

func contains(all []span, id uint32) bool {
	for _, s := range all {
		if s.first <= uint64(id) && uint64(id)-s.first < s.count {
			return true
		}
	}
	return false
}

// idsOf reads the ids that exist in this user namespace (user_namespaces(7)), or all of
// them on systems without such namespaces.
func idsOf(file string) []span {
	data, err := os.ReadFile(file)
	if err != nil {
		return []span{{0, 1 << 32}}
	}
	return spans(data, func(line string) []string {
		if f := strings.Fields(line); len(f) == 3 {
			return []string{f[0], f[2]}
		}
		return nil
	})
}

// subordinate reads the ids that users can become in their own user namespaces
// (subuid(5)).
func subordinate(file string) []span {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return spans(data, func(line string) []string {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 3 {
			return f[1:]
		}
		return nil
	})
}

func spans(data []byte, words func(line string) []string) (all []span) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := words(lines.Text())
		if f == nil {
			continue
		}
		first, err1 := strconv.ParseUint(f[0], 10, 32)
		count, err2 := strconv.ParseUint(f[1], 10, 32)
		if err1 == nil && err2 == nil {
			all = append(all, span{first, count})
		}
	}
	return all
}

// runningIDs returns the users and groups of running processes, as far as the system
// shows them. Some may be shown with other ids, but a random id is unlikely to be among
// them.
func runningIDs() map[uint32]bool {
	ids := map[uint32]bool{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return ids
	}
	for _, e := range entries {
		if c := e.Name()[0]; c < '1' || c > '9' {
			continue
		}
		info, err := os.Lstat("/proc/" + e.Name())
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			ids[st.Uid], ids[st.Gid] = true, true
		}
	}
	return ids
}
