package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"modwsgi/internal/archive"
	"modwsgi/internal/digest"
)

type member struct {
	name string
	data []byte
}

// makeAr returns an ar archive, as deb(5) describes it.
func makeAr(members ...member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		b.Write(m.data)
		if len(m.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func makeDeb(t testing.TB, items ...item) []byte {
	return makeAr(member{"debian-binary", []byte("2.0\n")}, member{"control.tar.gz", gz(t, makeTar(t, file("./control", "Package: x\n")))}, member{"data.tar.gz", gz(t, makeTar(t, items...))})
}

func TestDeb(t *testing.T) {
	items := []item{
		dir("./"), dir("./lib64/"), symlink("./lib64/ld.so", "/lib/x/ld-2.31.so"), dir("./usr/"), file("./usr/include/stdio.h", "int puts();"),
		symlink("./usr/lib/x/libm.so", "/lib/x/libm.so.6"), symlink("./usr/lib/x/libn.so", "libm.so"), hardlink("./usr/include/again.h", "./usr/include/stdio.h"),
	}
	plain := makeTar(t, items...)
	var z, x bytes.Buffer
	zw, err := zstd.NewWriter(&z)
	must(t, err)
	xw, err := xz.NewWriter(&x)
	must(t, err)
	for name, data := range map[string]member{
		"gzip": {"data.tar.gz", gz(t, plain)}, "none": {"data.tar", plain}, "zstd": {"data.tar.zst", compress(t, zw, &z, plain)}, "xz": {"data.tar.xz/", compress(t, xw, &x, plain)},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			deb := makeAr(member{"debian-binary", []byte("2.0\n")}, member{"control.tar.gz", []byte("odd")}, data, member{"_gpgbuilder", []byte("x")})
			sum := sha256.Sum256(deb)
			stats, err := a.extract(deb, archive.Options{Deb: true, SHA256: hex.EncodeToString(sum[:])})
			must(t, err)
			if stats.Files != 2 || stats.Links != 3 || stats.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%+v", stats)
			}
			for link, want := range map[string]string{"lib64/ld.so": "../lib/x/ld-2.31.so", "usr/lib/x/libm.so": "../../../lib/x/libm.so.6", "usr/lib/x/libn.so": "libm.so"} {
				if got, err := os.Readlink(filepath.Join(a.dest, link)); err != nil || got != want {
					t.Errorf("%s leads to %s, %v; want %s", link, got, err, want)
				}
			}
		})
	}
}

func TestHostileDebs(t *testing.T) {
	good := makeDeb(t, file("./usr/include/stdio.h", "x"))
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"path traversal":     {makeDeb(t, file("./usr/../../etc/passwd", "x")), `contains ".."`},
		"absolute name":      {makeDeb(t, file("/etc/passwd", "x")), "absolute"},
		"link above":         {makeDeb(t, symlink("./usr/lib/x", "../../../etc")), "outside of the archive"},
		"absolute link up":   {makeDeb(t, symlink("./usr/lib/x", "/../etc"), symlink("./a", "usr/lib/x/../../../..")), "outside of the archive"},
		"file below link":    {makeDeb(t, symlink("./lib", "/tmp"), file("./lib/x", "x")), "below the symbolic link"},
		"hard link out":      {makeDeb(t, hardlink("./usr/x", "/etc/passwd")), "absolute"},
		"device":             {makeDeb(t, node("./dev/null", '3')), "device node"},
		"twice":              {makeDeb(t, file("./a", "x"), file("./a", "y")), "occurs twice"},
		"no data":            {makeAr(member{"debian-binary", []byte("2.0\n")}, member{"control.tar.gz", []byte("x")}), "unexpected EOF"},
		"not a package":      {makeAr(member{"hello.o", []byte("x")}, member{"data.tar.gz", gz(t, makeTar(t, file("a", "x")))}), "first member"},
		"truncated":          {good[:len(good)-30], ""},
		"damaged header":     {bytes.Replace(good, []byte("`\n"), []byte("!!"), 1), "damaged"},
		"negative size":      {bytes.Replace(good, []byte("4         `\n"), []byte("-4        `\n"), 1), "damaged"},
		"huge control":       {bytes.Replace(good, []byte("4         `\n"), []byte("9999999999`\n"), 1), "data.tar"},
		"nothing but a name": {[]byte("!<arch>\n"), "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			_, err := a.extract(c.deb, archive.Options{Deb: true})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			a.untouched()
		})
	}
	// The whole file counts, and packages are only unpacked where they are expected.
	a := newArena(t)
	_, err := a.extract(append(bytes.Clone(good), "more"...), archive.Options{Deb: true, SHA256: digestOf(good)})
	var changed *digest.Changed
	if !errors.As(err, &changed) {
		t.Errorf("with bytes after the end: %v", err)
	}
	a.untouched()
	if _, err := a.extract(good, archive.Options{}); err == nil {
		t.Error("unpacked without Deb")
	}
	a.untouched()
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestControl reads the files about a package, whatever their compression, and refuses
// damaged and huge ones. Without the request, they do not matter.
func TestControl(t *testing.T) {
	items := []item{dir("./"), file("./control", "Package: x\n"), file("./symbols", "libx.so.1 x #MINVER#\n"), symlink("./link", "control"), file("./below/name", "x")}
	plain := makeTar(t, items...)
	var x bytes.Buffer
	xw, err := xz.NewWriter(&x)
	must(t, err)
	data := member{"data.tar.gz", gz(t, makeTar(t, file("./usr/include/x.h", "x")))}
	for name, c := range map[string]struct {
		control member
		want    string
	}{
		"gzip":      {member{"control.tar.gz", gz(t, plain)}, ""},
		"xz":        {member{"control.tar.xz", compress(t, xw, &x, plain)}, ""},
		"none":      {member{"control.tar", plain}, ""},
		"damaged":   {member{"control.tar.gz", []byte("\x1f\x8bodd")}, "control.tar"},
		"cut":       {member{"control.tar.gz", gz(t, plain[:700])}, "control.tar"},
		"too large": {member{"control.tar.gz", gz(t, makeTar(t, file("./control", strings.Repeat("x", 17<<20))))}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			deb := makeAr(member{"debian-binary", []byte("2.0\n")}, c.control, data)
			files := map[string][]byte{}
			_, err := newArena(t).extract(deb, archive.Options{Deb: true, Control: files})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			} else if err != nil || len(files) != 2 || string(files["control"]) != "Package: x\n" || string(files["symbols"]) != "libx.so.1 x #MINVER#\n" {
				t.Errorf("got %q, %v", files, err)
			}
			if _, err := newArena(t).extract(deb, archive.Options{Deb: true}); err != nil {
				t.Errorf("without the request: %v", err)
			}
		})
	}
}
