// Command modwsgi-release makes what accompanies a release of the tools. make dist
// runs it; users never see it. See package packaging/toolrelease.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/owned"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
	"modwsgi/packaging/toolrelease"
)

const usage = `modwsgi-release notices ROOT DIR              licences of the Go modules, and their list, into DIR
modwsgi-release gzip FILE TARGET              compress a file reproducibly
modwsgi-release sbom ARTIFACT DOCUMENT        CycloneDX bill of materials
modwsgi-release wheels DIST ROOT DIR EPOCH    the wheels of the tool from the archives in DIST
modwsgi-release describe PROGRAM VERSION      version and manifest into a program for Windows
modwsgi-release bootstrap DIST ROOT           DIST/bootstrap.sh with the archives' hashes
modwsgi-release finish DIST ROOT DIR COMMIT   bills of materials, provenance, sums; signatures with
                                              MODWSGI_SIGN_OPENPGP, _MINISIGN, _ECDSA, _PASSPHRASE_FILE
modwsgi-release sweep DIST                    remove files that are not part of the release
modwsgi-release inspect DIST                  check every program in every archive
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "modwsgi-release: %v\n", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	arity := map[string]int{"notices": 2, "gzip": 2, "describe": 2, "sbom": 2, "wheels": 4, "bootstrap": 2, "finish": 4, "sweep": 1, "inspect": 1}
	if len(args) == 0 || arity[args[0]] != len(args)-1 {
		return fmt.Errorf("these are the commands:\n%s", usage)
	}
	for _, dir := range owned.Vouch(os.Getenv(owned.TrustedVariable)) {
		fmt.Fprintf(os.Stderr, "modwsgi-release: %s: %s does not exist or is not an absolute path\n", owned.TrustedVariable, dir)
	}
	switch args = args[1:]; os.Args[1] {
	case "notices":
		return toolrelease.Notices(ctx, args[0], args[1], os.Environ())
	case "gzip":
		return toolrelease.Gzip(args[0], args[1])
	case "describe":
		if !strings.HasSuffix(args[0], ".exe") { // the hook runs for all systems
			return nil
		}
		return packaging.DescribeProgram(args[0], args[1])
	case "sbom":
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		return toolrelease.Sbom(args[0], args[1], toolrelease.BesideProgram(exe))
	case "wheels":
		epoch, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return fmt.Errorf("the time %q is not a number of seconds since 1970", args[3])
		}
		paths, err := toolrelease.Wheels(args[0], args[1], args[2], os.Getenv("MODWSGI_REPOSITORY"), time.Unix(epoch, 0).UTC())
		for _, p := range paths {
			fmt.Println(p)
		}
		return err
	case "bootstrap":
		return toolrelease.Bootstrap(args[0], args[1], os.Getenv("MODWSGI_RELEASE_URL"))
	case "finish":
		names, err := toolrelease.Finish(ctx, args[0], toolrelease.Source{
			Commit: args[3], Repository: os.Getenv("MODWSGI_REPOSITORY"), Builder: os.Getenv("MODWSGI_BUILDER_ID"),
			Modules: filepath.Join(args[2], toolrelease.ModulesName), Tools: filepath.Join(args[1], "tools", "go.mod"),
		}, sign.Keys{
			OpenPGP: os.Getenv("MODWSGI_SIGN_OPENPGP"), Minisign: os.Getenv("MODWSGI_SIGN_MINISIGN"), ECDSA: os.Getenv("MODWSGI_SIGN_ECDSA"),
			PassphraseFile: os.Getenv("MODWSGI_SIGN_PASSPHRASE_FILE"),
		}, time.Now)
		for _, name := range names {
			fmt.Println(filepath.Join(args[0], name))
		}
		return err
	case "sweep":
		return toolrelease.Sweep(args[0])
	default:
		return toolrelease.Inspect(args[0], os.Stdout)
	}
}
