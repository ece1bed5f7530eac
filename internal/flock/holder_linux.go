package flock

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"

	"modwsgi/internal/mountinfo"
	"modwsgi/internal/owned"
)

// holderOf finds the process that holds the lock of an open file.
func holderOf(f *os.File) Holder {
	info, err := f.Stat()
	if err != nil {
		return Holder{}
	}
	h := holderBy(info)
	// stat(2) does not always return the numbers in the kernel's list of locks: btrfs and
	// overlayfs make up device numbers.
	if dev, ino := kernelNames(f); h.PID == 0 && dev != "" {
		h = lookUp(dev, ino)
	}
	return h.alive(info).at(info)
}

// holderBy is holderOf for a file that cannot be opened.
func holderBy(info fs.FileInfo) Holder {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Holder{}
	}
	dev := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	return lookUp(dev, strconv.FormatUint(st.Ino, 10)).alive(info).at(info)
}

// alive replaces a holder that has ended with one that inherited the open file from it.
// The list shows the process that acquired the lock, but a lock ends with the last
// process that has the file open.
func (h Holder) alive(info fs.FileInfo) Holder {
	if h.PID == 0 || h.User != "" {
		return h
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		there, err := os.Stat(fd)
		if err != nil || !os.SameFile(there, info) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(fd, "/")[2])
		if err == nil && pid != os.Getpid() {
			return describe(pid)
		}
	}
	return h
}

// at records the time: acquiring a lock touches its file.
func (h Holder) at(info fs.FileInfo) Holder {
	if info.Mode().IsRegular() && h.PID != 0 {
		h.Since = info.ModTime()
	}
	return h
}

// kernelNames returns the device and inode of an open file in the form of proc_locks(5).
func kernelNames(f *os.File) (dev, ino string) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return "", ""
	}
	mount := ""
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "mnt_id":
			mount = strings.TrimSpace(value)
		case "ino":
			ino = strings.TrimSpace(value)
		}
	}
	data, err = os.ReadFile("/proc/self/mountinfo")
	if err != nil || ino == "" {
		return "", ""
	}
	for m := range mountinfo.Parse(string(data)) {
		if m.ID != mount {
			continue
		}
		var major, minor uint
		if n, _ := fmt.Sscanf(m.Device, "%d:%d", &major, &minor); n == 2 {
			return fmt.Sprintf("%02x:%02x", major, minor), ino
		}
	}
	return "", ""
}

// lookUp reads proc_locks(5), which does not list holders in another container.
func lookUp(dev, ino string) Holder {
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return Holder{}
	}
	defer func() { _ = locks.Close() }()
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 7: FLOCK  ADVISORY  WRITE 4242 08:01:131073 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != dev+":"+ino {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return describe(pid)
		}
	}
	return Holder{}
}

func describe(pid int) Holder {
	h := Holder{PID: pid}
	dir := fmt.Sprintf("/proc/%d", pid)
	if info, err := os.Stat(dir); err == nil {
		h.User = owned.Owner(info)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil {
		h.Command = command(data)
	}
	return h
}

// command returns a short form of a command line: the program and its first argument, if
// that is a word. Further ones can be long, and are private.
func command(cmdline []byte) string {
	var words []string
	for i, arg := range bytes.Split(cmdline, []byte{0}) {
		word := string(arg)
		if i == 0 {
			word = filepath.Base(word)
		}
		word = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, word)
		if i > 1 || word == "" || i == 1 && strings.HasPrefix(word, "-") {
			break
		}
		words = append(words, word)
	}
	s := strings.Join(words, " ")
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
