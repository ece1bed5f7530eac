package pyindex

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/pydist"
	"modwsgi/packaging/publish/publishtest"
)

// bytesOf changes a finished wheel, not its description.
func bytesOf(change func(*[]byte)) func(*pydist.Dist, *[]byte, *string) {
	return func(_ *pydist.Dist, data *[]byte, _ *string) {
		if data != nil {
			change(data)
		}
	}
}

// TestStrictIndex: the index of the tests takes a correct wheel, and refuses each
// mistake that PyPI refuses.
func TestStrictIndex(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.pyd")
	if err := os.WriteFile(file, []byte("module"), 0o644); err != nil {
		t.Fatal(err)
	}
	known := []string{"Topic :: Internet", "License :: OSI Approved :: MIT License"}
	for want, change := range map[string]func(d *pydist.Dist, data *[]byte, name *string){
		"":                       func(*pydist.Dist, *[]byte, *string) {},
		"local versions":         func(d *pydist.Dist, _ *[]byte, _ *string) { d.Version = "1.0+ap24" },
		"unsupported platform":   func(d *pydist.Dist, _ *[]byte, _ *string) { d.Tag = "cp311-cp311-linux_x86_64" },
		"not a valid classifier": func(d *pydist.Dist, _ *[]byte, _ *string) { d.Classifiers = append(d.Classifiers, "Topic :: Nothing") },
		"introduced in":          func(d *pydist.Dist, _ *[]byte, _ *string) { d.LicenseFiles = []string{"LICENSE"} },
		"LICENSE does not exist": func(d *pydist.Dist, _ *[]byte, _ *string) {
			d.LicenseFiles, d.LicenseExpression, d.License = []string{"LICENSE"}, "MIT", ""
		},
		"licence expression replace": func(d *pydist.Dist, _ *[]byte, _ *string) {
			d.LicenseExpression, d.License = "MIT", ""
			d.Classifiers = known
		},
		"exclude each other": func(d *pydist.Dist, _ *[]byte, _ *string) { d.LicenseExpression = "MIT" },
		"not a valid URL":    func(d *pydist.Dist, _ *[]byte, _ *string) { d.URLs = [][2]string{{"Source", "here"}} },
		"empty or too long": func(d *pydist.Dist, _ *[]byte, _ *string) {
			d.URLs = [][2]string{{strings.Repeat("x", 33), "https://example.org/"}}
		},
		"description content type": func(d *pydist.Dist, _ *[]byte, _ *string) { d.DescriptionType = "text/html" },
		"another distribution": func(d *pydist.Dist, _ *[]byte, _ *string) {
			d.Files = append(d.Files, pydist.File{Path: "other-1.0.dist-info/X", Source: file})
		},
		"has the tags": func(_ *pydist.Dist, _ *[]byte, name *string) {
			if name != nil {
				*name = strings.Replace(*name, "cp311-cp311", "cp312-cp312", 1)
			}
		},
		"trailing data": bytesOf(func(data *[]byte) { *data = append(*data, 0) }),
		"local header":  bytesOf(func(data *[]byte) { (*data)[30] ^= 1 }),
		"another hash": bytesOf(func(data *[]byte) {
			*data = publishtest.Wheel(t, "some", "1.0", "", "x = 1\n").Data
		}),
	} {
		d := pydist.Dist{
			Name: "some", Version: "1.0", Summary: "s", License: "MIT", Tag: "cp311-cp311-win_amd64", Description: "text", Classifiers: []string{known[0]},
			URLs: [][2]string{{"Source", "https://example.org/"}}, Files: []pydist.File{{Path: "some/m.pyd", Source: file}},
		}
		change(&d, nil, nil)
		var out bytes.Buffer
		if err := d.WriteWheel(&out, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		b := out.Bytes()
		name, err := d.WheelName()
		if err != nil {
			t.Fatal(err)
		}
		change(&pydist.Dist{}, &b, &name)
		got := publishtest.Refuses(name, b, known)
		if want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "; ")+"|", want) || want != "" && len(got) == 0 {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}
