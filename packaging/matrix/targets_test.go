package matrix_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"modwsgi/packaging/matrix"
)

func TestOtherPlatforms(t *testing.T) {
	m, err := matrix.Parse("release.toml", []byte(`
schema = 1
pythons = ["3.9", "3.14"]
formats = ["far", "deb"]
platforms = ["linux/amd64", "linux/arm64/glibc2.28"]
[[python]]
version = "3.14"
sdk = "sdk/cpython.tar.zst"
[[python]]
version = "3.14"
platform = "linux/arm64/glibc2.28"
sdk = "sdk/arm64.tar.zst"
[[target]]
platform = "linux/arm64/glibc2.28"
packages = ["libssl-dev"]
programs = "bin/arm64"
[[exclude]]
python = "3.9"
platform = "linux/arm64/glibc2.28"
`), formats)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := m.Cells("linux/amd64", formats)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		got = append(got, c.Python+" "+c.Platform+" "+c.Format)
	}
	want := []string{"3.9 linux/amd64 far", "3.9 linux/amd64 deb", "3.14 linux/amd64 far", "3.14 linux/amd64 deb", "3.14 linux/arm64/glibc2.28 far"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m.Python[0].SDK != "sdk/cpython.tar.zst" || m.Python[1].Platform != "linux/arm64/glibc2.28" || m.Target[0].Programs != "bin/arm64" || !slices.Equal(m.Target[0].Packages, []string{"libssl-dev"}) {
		t.Errorf("got %+v, %+v", m.Python, m.Target)
	}
}

func TestMistakesInTargets(t *testing.T) {
	_, err := matrix.Parse("release.toml", []byte(`schema = 1
pythons = ["3.9"]
formats = ["far"]
platforms = ["linux/arm64/glibc2.28", "linux/sparc/glibc2.28"]
[[python]]
version = "3.10"
sdk = "x"
[[python]]
version = "3.9"
[[python]]
version = "3.9"
platform = "linux/arm64/glibc2.31"
sdk = "x"
[[python]]
version = "3.9"
sdk = "y"
[[target]]
platform = "linux/arm64/musl1.2"
[[target]]
platform = "linux/arm64/glibc2.28"
sysroot = "dir"
packages = ["libssl-dev"]
[[target]]
platform = "linux/arm64/glibc2.28"
`), formats)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`release.toml:4: this machine cannot make artifacts for "linux/sparc/glibc2.28", only for linux/amd64, windows/amd64 (unknown processor in linux/sparc/glibc2.28)`,
		`release.toml:6: python: "3.10" is not among the pythons`, "release.toml:8: python: sdk is missing",
		`release.toml:18: target: "linux/arm64/musl1.2" is not among the platforms`, "release.toml:22: target: packages are added only to a sysroot that is made",
		`release.toml:24: target: duplicate "linux/arm64/glibc2.28"`,
		`release.toml:12: python: "linux/arm64/glibc2.31" is not among the platforms`, `release.toml:15: python: duplicate "3.9"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among:\n%v", want, err)
		}
	}
}

// A format that is made for other systems, but not for those that are named, says why.
func TestFormatsWithoutTheirPlatform(t *testing.T) {
	alpine := append(slices.Clone(formats), matrix.Format{Name: "alpine", Platforms: []string{"linux/amd64"}, Other: func(platform string) error {
		if strings.HasSuffix(platform, "/musl1.2") {
			return nil
		}
		return errors.New("alpine is for musl")
	}})
	_, err := matrix.Parse("release.toml", []byte("schema = 1\npythons = [\"3.9\"]\nformats = [\"far\", \"alpine\"]\nplatforms = [\"linux/arm64/glibc2.28\"]\n"), alpine)
	if want := "release.toml:3: alpine is made only for linux/amd64, which is not among the platforms (alpine is for musl)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
