package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"modwsgi/internal/mountinfo"
)

// local are file systems whose files sendfile(2) reads from the page cache of this
// machine. Network and shared file systems may change a file without telling it, and some
// of those of virtual machines send stale data.
var local = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, // ext2 and ext3, too
	unix.XFS_SUPER_MAGIC:  true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true,
	unix.SQUASHFS_MAGIC: true, unix.EROFS_SUPER_MAGIC_V1: true, unix.ISOFS_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS
	0xca451a4e: true, // bcachefs
}

// HasLocalFiles reports whether a directory, or the one where it will be made, is on a
// file system of this machine.
func HasLocalFiles(dir string) bool {
	for whole := dir; ; {
		var fs unix.Statfs_t
		err := unix.Statfs(dir, &fs)
		if err == nil {
			return local[int64(fs.Type)&0xffffffff] && !othersBelow(whole)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

// localTypes are the names of the same file systems in proc(5).
var localTypes = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay", "squashfs", "erofs", "iso9660", "zfs", "bcachefs"}

// othersBelow reports whether another kind of file system is mounted below a directory. It
// does not touch that, which could take forever.
func othersBelow(dir string) bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	below := strings.TrimSuffix(dir, "/") + "/"
	for m := range mountinfo.Parse(string(data)) {
		if strings.HasPrefix(m.Point, below) && !slices.Contains(localTypes, m.Type) {
			return true
		}
	}
	return false
}
