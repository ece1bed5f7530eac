package linkage

import (
	"context"
	"path/filepath"
	"strings"

	"modwsgi/internal/run"
	"modwsgi/packaging"
)

// Asking returns a host that may run its package manager, for records that only it can
// read (rpm's). Canceling the context stops it.
func (h Host) Asking(ctx context.Context) Host {
	root := h.Root
	h.ask = func(args ...string) string {
		for _, program := range []string{"/usr/bin/rpm", "/bin/rpm"} {
			if root != "/" && root != "" || !isFile(program) {
				continue
			}
			out, err := (&run.Runner{}).Output(ctx, run.Cmd{Argv: append([]string{program}, args...), Dir: "/", Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}})
			if err == nil {
				return string(out)
			}
			break
		}
		return ""
	}
	return h
}

// rpmOwner describes a library by its package, if rpm knows one. Licences in rpm use
// each distribution's own terms and are ignored.
func (h Host) rpmOwner(c *packaging.Component, file string) {
	if h.ask == nil {
		return
	}
	line, _, _ := strings.Cut(h.ask("-qf", "--qf", `%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n`, file), "\n")
	f := strings.Split(line, "\t")
	if len(f) != 5 {
		return
	}
	name, epoch, version, arch, source := f[0], f[1], f[2], f[3], f[4]
	if source == "(none)" {
		source = ""
	}
	c.Name, c.Version = name, version
	if epoch == "0" {
		epoch = ""
	} else {
		c.Version = epoch + ":" + version
	}
	id, distribution := h.distribution("rpm")
	c.PURL = packaging.PackageURL("rpm/"+id+"/"+name, version, [][2]string{{"arch", arch}, {"distro", distribution}, {"epoch", epoch}, {"upstream", source}}...)
	for text := range strings.Lines(h.ask("-q", "--licensefiles", name+"-"+version+"."+arch)) {
		if text = strings.TrimSpace(text); filepath.IsAbs(text) && isFile(text) {
			c.Texts = append(c.Texts, text)
		}
	}
}
