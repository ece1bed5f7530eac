package localca

import (
	"runtime"

	"modwsgi/internal/run"
)

const unixModes = runtime.GOOS != "windows"

// TrustCommand returns the command that makes a system trust an authority. family is that
// of a Linux distribution, see internal/distro.
func TrustCommand(system, family, file string) string {
	file = run.Quote(file)
	switch system {
	case "darwin":
		return "security add-trusted-cert -r trustRoot -p ssl -k ~/Library/Keychains/login.keychain-db " + file
	case "windows":
		return "certutil -user -addstore Root " + file
	case "freebsd":
		return "sudo cp " + file + " /usr/local/share/certs/mod_wsgi-express.crt && sudo certctl rehash"
	}
	switch family {
	case "fedora", "rhel":
		return "sudo cp " + file + " /etc/pki/ca-trust/source/anchors/mod_wsgi-express.crt && sudo update-ca-trust"
	case "suse":
		return "sudo cp " + file + " /etc/pki/trust/anchors/mod_wsgi-express.crt && sudo update-ca-certificates"
	case "arch":
		return "sudo trust anchor --store " + file
	}
	return "sudo cp " + file + " /usr/local/share/ca-certificates/mod_wsgi-express.crt && sudo update-ca-certificates" // Debian, Ubuntu, Alpine
}
