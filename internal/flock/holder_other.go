//go:build unix && !linux

package flock

import (
	"io/fs"
	"os"
)

func holderOf(*os.File) Holder { return Holder{} }

func holderBy(fs.FileInfo) Holder { return Holder{} }
