package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/archive"
	"modwsgi/internal/fault"
)

func TestBombsAreRefused(t *testing.T) {
	small := archive.Limits{MaxBytes: 20 << 10, MaxFileBytes: 8 << 10, MaxFiles: 10}
	many := make([]item, 11)
	for i := range many {
		many[i] = file(fmt.Sprint("f", i), "")
	}
	zeros := string(make([]byte, 3<<20))
	for what, row := range map[string]struct {
		items  []item
		limits archive.Limits
		entry  string
		say    string
	}{
		"one file":         {[]item{file("a", "x"), file("big", strings.Repeat("x", 8<<10+1))}, small, "big", "8192 bytes"},
		"total":            {[]item{file("a", zeros[:8<<10]), file("b", zeros[:8<<10]), file("c", zeros[:8<<10])}, small, "c", "20480 bytes"},
		"count":            {many, small, "f10", "10 entries"},
		"global headers":   {[]item{file("a", "x"), {name: "g", typ: tar.TypeXGlobalHeader, body: "3f2a"}}, archive.Limits{MaxFiles: 1}, "", "1 entries"},
		"hard link copies": {[]item{file("a", zeros[:8<<10]), hardlink("b", "a"), hardlink("c", "a")}, small, "c", "20480 bytes"},
		"ratio":            {[]item{file("a", "x"), file("zeros", zeros)}, archive.Limits{}, "zeros", "200 times"},
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t)
			_, err := a.extract(gz(t, makeTar(t, row.items...)), archive.Options{Limits: row.limits})
			if row.entry == "" {
				row.entry = "GlobalHead.0.0" // the name that archive/tar uses
				var refused *archive.RefusedError
				if errors.As(err, &refused) {
					row.entry = refused.Entry
				}
			}
			a.refused(err, row.entry, row.say)
		})
	}
}

// A stream that consists of headers must count towards the limits, although it has no
// content.
func TestPaddingBombIsRefused(t *testing.T) {
	data := makeTar(t, file("a", "x"))
	a := newArena(t)
	_, err := a.extract(gz(t, append(data, make([]byte, 8<<20)...)), archive.Options{})
	a.refused(err, "a", "200 times")
}

func TestSparseFileIsMeasuredByUnpackedSize(t *testing.T) {
	// A GNU sparse 1.0 file in PAX records, with one map entry that is all hole.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	body := make([]byte, 512)
	copy(body, "1\n1099511627776\n0\n")
	raw := rawPAX(t, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "hole", "GNU.sparse.realsize", "1099511627776")
	must(t, w.WriteHeader(&tar.Header{Name: "placeholder", Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644}))
	_, err := w.Write(body)
	must(t, err)
	must(t, w.Close())
	a := newArena(t)
	_, err = a.extract(gz(t, append(raw, b.Bytes()...)), archive.Options{})
	a.refused(err, "hole", "268435456 bytes")
}

// rawPAX returns a pair of extended header blocks that archive/tar would not write.
func rawPAX(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var records strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		tail := " " + pairs[i] + "=" + pairs[i+1] + "\n"
		n := len(tail) + 1
		for len(fmt.Sprint(n))+len(tail) != n {
			n++
		}
		fmt.Fprint(&records, n, tail)
	}
	h := make([]byte, 512)
	copy(h, "PaxHeaders/x")
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", records.Len()))
	h[156] = tar.TypeXHeader
	copy(h[257:], "ustar\x0000")
	fixChecksum(h)
	return append(h, append([]byte(records.String()), make([]byte, 512-records.Len())...)...)
}

func fixChecksum(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func TestHostileSizes(t *testing.T) {
	for what, field := range map[string][]byte{
		"negative":       {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe},
		"overflow":       {0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"beyond 64 bits": {0x80, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"not a number":   []byte("0000zz00000\x00"),
	} {
		t.Run(what, func(t *testing.T) {
			data := makeTar(t, file("ok", "x"), file("odd", "y"))
			copy(data[1024+124:], field)
			fixChecksum(data[1024 : 1024+512])
			a := newArena(t)
			_, err := a.extract(data, archive.Options{})
			if fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), `"o`) {
				t.Errorf("error is %v", err)
			}
			a.untouched()
		})
	}
}

func TestFileWithTheNameOfADirectory(t *testing.T) {
	data := makeTar(t, file("ok", "x"), file("b_", "y"))
	data[1024+1] = '/'
	fixChecksum(data[1024 : 1024+512])
	a := newArena(t)
	_, err := a.extract(data, archive.Options{})
	a.refused(err, "b/", "ends with a slash")
}

func TestTruncatedAtEveryByte(t *testing.T) {
	// The last file ends with a block of zeros, which must not be mistaken for an end mark.
	plain := makeTar(t, dir("d/"), file("d/a", strings.Repeat("a", 700)), file("d/z", string(make([]byte, 1024))))
	packed := gz(t, plain)
	for cut := 1; cut < len(packed); cut++ {
		a := newArena(t)
		if _, err := a.extract(packed[:cut], archive.Options{}); err == nil {
			t.Fatalf("gzip cut to %d of %d bytes: no error", cut, len(packed))
		}
		a.untouched()
	}
	end := len(plain) - 1024
	for _, cut := range []int{300, 512, 600, 1024, 1100, 1536, 2048, end - 512, end - 1, end, end + 1, end + 511} {
		a := newArena(t)
		if _, err := a.extract(plain[:cut], archive.Options{}); err == nil {
			t.Errorf("tar cut to %d of %d bytes: no error", cut, len(plain))
		}
		a.untouched()
	}
}

func TestOldTarFormats(t *testing.T) {
	long := strings.Repeat("long/", 40) + "name"
	for what, h := range map[string]tar.Header{
		"GNU long name": {Name: long, Format: tar.FormatGNU}, "GNU long link": {Name: "l", Typeflag: tar.TypeSymlink, Linkname: long, Format: tar.FormatGNU},
		"ustar prefix": {Name: long, Format: tar.FormatUSTAR}, "PAX time": {Name: "a", ModTime: then.Add(time.Nanosecond), Format: tar.FormatPAX},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		must(t, w.WriteHeader(&h))
		must(t, w.Close())
		a := newArena(t)
		if _, err := a.extract(b.Bytes(), archive.Options{}); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		info, err := os.Lstat(filepath.Join(a.dest, h.Name))
		must(t, err)
		if h.Format == tar.FormatPAX && !info.ModTime().Equal(h.ModTime) {
			t.Errorf("%s: %v", what, info.ModTime())
		}
	}
}

func TestDamagedChecksum(t *testing.T) {
	data := gz(t, makeTar(t, file("a", "x")))
	data[len(data)-6] ^= 1
	a := newArena(t)
	if _, err := a.extract(data, archive.Options{}); !errors.Is(err, gzip.ErrChecksum) && (err == nil || !strings.Contains(err.Error(), "checksum")) {
		t.Errorf("error is %v", err)
	}
	a.untouched()
}

func TestNotAnArchive(t *testing.T) {
	for what, data := range map[string][]byte{
		"empty file": {}, "text": []byte("<html>404 not found</html>"), "one byte": {0x1f},
		"gzip of text": gz(t, []byte("hello")), "gzip of nothing": gz(t, nil), "just zeros": make([]byte, 10240), "gzip of zeros": gz(t, make([]byte, 10240)),
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t)
			if _, err := a.extract(data, archive.Options{}); fault.ClassOf(err) != fault.Source {
				t.Errorf("error is %v", err)
			}
			a.untouched()
		})
	}
	a := newArena(t)
	if _, err := archive.Extract(t.Context(), a.root, a.dest, archive.Options{}); err == nil {
		t.Error("a directory was accepted as an archive")
	}
}

func TestEndedContextLeavesNothing(t *testing.T) {
	why := errors.New("somebody pressed a key")
	data := gz(t, makeTar(t, file("a", "x"), file("b", strings.Repeat("b", 4<<20)), file("c", "x")))
	for _, at := range []string{"", "a", "b", "c"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if at == "" {
			cancel(why)
		}
		a := newArena(t)
		_, err := a.extractContext(ctx, data, archive.Options{
			Limits: archive.Limits{MaxRatio: 1 << 20},
			Keep: func(name string) bool {
				if name == at {
					cancel(why)
				}
				return true
			},
		})
		if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("at %q: %v", at, err)
		}
		a.untouched()
		cancel(nil)
	}
}

type zipItem struct {
	name   string
	body   string
	mode   os.FileMode
	change func(h *zip.FileHeader)
}

func makeZip(t testing.TB, items ...zipItem) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, i := range items {
		h := &zip.FileHeader{Name: i.name, Method: zip.Deflate, Modified: then}
		if i.mode == 0 {
			i.mode = 0o644
		}
		h.SetMode(i.mode)
		create := w.CreateHeader
		if i.change != nil {
			var packed bytes.Buffer
			d, ferr := flate.NewWriter(&packed, flate.BestSpeed)
			must(t, ferr)
			h.CRC32, h.UncompressedSize64 = crc32.ChecksumIEEE([]byte(i.body)), uint64(len(i.body))
			i.body = string(compress(t, d, &packed, []byte(i.body)))
			h.CompressedSize64 = uint64(len(i.body))
			i.change(h)
			create = w.CreateRaw
		}
		f, err := create(h)
		must(t, err)
		_, err = io.WriteString(f, i.body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func TestZip(t *testing.T) {
	a := newArena(t)
	stats, err := a.extract(makeZip(t,
		zipItem{name: "top/"},
		zipItem{name: "top/bin/run", body: "#!", mode: 0o755 | os.ModeSetuid},
		zipItem{name: "top/link", body: "bin/run", mode: 0o777 | os.ModeSymlink},
	), archive.Options{Strip: 1})
	must(t, err)
	got := listing(t, a.dest)
	if got["bin/run"] != "-rwxr-xr-x #!" || got["link"] != "-> bin/run" || len(got) != 3 || stats.Files != 1 {
		t.Errorf("got %v, %+v", got, stats)
	}
	info, err := os.Stat(filepath.Join(a.dest, "bin/run"))
	must(t, err)
	if info.ModTime().Sub(then).Abs() > 2*time.Second {
		t.Errorf("time is %v", info.ModTime())
	}
}

func TestHostileZips(t *testing.T) {
	ok := zipItem{name: "a", body: "x"}
	for what, row := range map[string]struct {
		bad   zipItem
		entry string
		say   string
	}{
		"dot dot":      {zipItem{name: "../evil", body: "x"}, "../evil", `".."`},
		"absolute":     {zipItem{name: "/evil", body: "x"}, "/evil", "absolute"},
		"backslash":    {zipItem{name: `..\evil`, body: "x"}, `..\evil`, "backslash"},
		"drive":        {zipItem{name: "C:/evil", body: "x"}, "C:/evil", "drive"},
		"twice":        {zipItem{name: "a", body: "y"}, "a", "twice"},
		"link out":     {zipItem{name: "l", body: "../neighbour", mode: 0o777 | os.ModeSymlink}, "l", "outside"},
		"long link":    {zipItem{name: "l", body: strings.Repeat("x", 5000), mode: 0o777 | os.ModeSymlink}, "l", "longer than 4096"},
		"device":       {zipItem{name: "d", mode: 0o644 | os.ModeDevice}, "d", "device"},
		"pipe":         {zipItem{name: "p", mode: 0o644 | os.ModeNamedPipe}, "p", "of the type"},
		"socket":       {zipItem{name: "s", mode: 0o644 | os.ModeSocket}, "s", "of the type"},
		"encrypted":    {zipItem{name: "e", body: "x", change: func(h *zip.FileHeader) { h.Flags |= 1 }}, "e", "encrypted"},
		"bomb":         {zipItem{name: "z", body: string(make([]byte, 3<<20))}, "z", "200 times"},
		"large":        {zipItem{name: "z", body: "x", change: func(h *zip.FileHeader) { h.UncompressedSize64 = 1 << 40 }}, "z", "268435456"},
		"understated":  {zipItem{name: "z", body: strings.Repeat("ab", 9000), change: func(h *zip.FileHeader) { h.UncompressedSize64 = 10 }}, "", ""},
		"wrong sum":    {zipItem{name: "z", body: "x", change: func(h *zip.FileHeader) { h.CRC32 = crc32.ChecksumIEEE([]byte("y")) }}, "", ""},
		"wrong method": {zipItem{name: "z", body: "x", change: func(h *zip.FileHeader) { h.Method = 97 }}, "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t)
			_, err := a.extract(makeZip(t, ok, row.bad), archive.Options{})
			if row.entry != "" {
				a.refused(err, row.entry, row.say)
				return
			}
			if fault.ClassOf(err) != fault.Source || !strings.Contains(err.Error(), row.bad.name) {
				t.Errorf("error is %v", err)
			}
			a.untouched()
		})
	}
	a := newArena(t)
	_, err := a.extract(makeZip(t), archive.Options{})
	a.refused(err, "", "no files")
}

// The entries of a zip bomb may overlap: many entries share one content.
func TestOverlappingZipIsLimited(t *testing.T) {
	data := makeZip(t, zipItem{name: "000", body: strings.Repeat("0123456789", 100)})
	end := bytes.LastIndex(data, []byte("PK\x05\x06"))
	central := data[bytes.Index(data, []byte("PK\x01\x02")):end]
	out := bytes.Clone(data[:end])
	const copies = 50
	for i := 1; i < copies; i++ {
		record := bytes.Clone(central)
		copy(record[46:], fmt.Sprintf("%03d", i))
		out = append(out, record...)
	}
	tail := bytes.Clone(data[end:])
	binary.LittleEndian.PutUint16(tail[8:], copies)
	binary.LittleEndian.PutUint16(tail[10:], copies)
	binary.LittleEndian.PutUint32(tail[12:], uint32(len(central)*copies))
	a := newArena(t)
	_, err := a.extract(append(out, tail...), archive.Options{Limits: archive.Limits{MaxBytes: 20_500}})
	a.refused(err, "020", "20500 bytes")
}

func FuzzExtract(f *testing.F) {
	f.Add(gz(f, makeTar(f, dir("d/"), file("d/a", "x"), symlink("d/l", "a"), hardlink("h", "d/a"))))
	f.Add(makeTar(f, file("a", "x"), symlink("l", "..")))
	f.Add(makeZip(f, zipItem{name: "a", body: "x"}, zipItem{name: "l", body: "a", mode: 0o777 | os.ModeSymlink}))
	f.Add([]byte("BZh91AY&SY"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := newArena(t)
		stats, err := a.extract(data, archive.Options{Limits: archive.Limits{MaxBytes: 1 << 20, MaxFileBytes: 1 << 20, MaxFiles: 100}})
		if err != nil {
			a.untouched()
			return
		}
		if stats.Files+stats.Links == 0 {
			t.Error("success without a file")
		}
		must(t, os.RemoveAll(a.dest))
		a.untouched()
	})
}
