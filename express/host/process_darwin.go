package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// factsOf gets information about a process from the kernel (sysctl(3), KERN_PROCARGS2:
// the number of arguments, the program's path, padding, the arguments).
func factsOf(pid int) (f facts, err error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return f, nil //nolint:nilerr // it has ended
	}
	f.uids = []int{int(info.Eproc.Pcred.P_ruid), int(info.Eproc.Pcred.P_svuid), int(info.Eproc.Ucred.Uid)}
	raw, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(raw) < 4 {
		return f, fmt.Errorf("the command line of process %d cannot be read", pid)
	}
	count := int(binary.LittleEndian.Uint32(raw))
	exe, rest, _ := bytes.Cut(raw[4:], []byte{0})
	f.exe = string(exe)
	words := strings.Split(string(bytes.TrimLeft(rest, "\x00")), "\x00")
	f.args = words[:min(count, len(words))]
	return f, nil
}
