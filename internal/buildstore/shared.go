package buildstore

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// SharedOptions name a shared build cache. Variables of the environment replace empty
// ones.
type SharedOptions struct {
	Cache        string   // oci://REGISTRY/REPOSITORY or oci-layout:DIR; else MODWSGI_CACHE
	CacheSignKey string   // private key that entries are pushed with, "" for reading only; else MODWSGI_CACHE_SIGN_KEY
	CacheTrust   []string // public keys whose entries are accepted; else MODWSGI_CACHE_TRUST
	CacheHTTP    bool     // allow a registry on another machine without TLS
	// CacheMaxAge is the age from which builds are rejected ("30d", "none"),
	// CacheNotBefore a date before which they are.
	CacheMaxAge, CacheNotBefore string
}

// OpenShared opens the shared build cache named by the options, or where they are empty
// by MODWSGI_CACHE, MODWSGI_CACHE_SIGN_KEY and MODWSGI_CACHE_TRUST. It returns nil if
// none is named. It does not contact the cache. dir is the base of relative paths, and
// lock is how long to wait for another run's push.
func OpenShared(s SharedOptions, env []string, dir string, runner *run.Runner, lock time.Duration) (*remote.Cache, error) {
	address, signKey, trust := s.Cache, s.CacheSignKey, s.CacheTrust
	if address == "" {
		address = run.Getenv(env, "MODWSGI_CACHE")
	}
	if address == "" {
		if signKey != "" || len(trust) > 0 {
			return nil, fault.New(fault.Usage, "give --cache oci://REGISTRY/REPOSITORY too", "--cache-sign-key and --cache-trust need a shared cache, and none is given")
		}
		return nil, nil
	}
	if strings.HasPrefix(strings.TrimSpace(signKey), "-----BEGIN") {
		return nil, fault.New(fault.Usage, "put it into a file that only you can read, or into MODWSGI_CACHE_SIGN_KEY", "--cache-sign-key is the key itself, which every user sees in the list of processes")
	}
	if signKey == "" {
		signKey = run.Getenv(env, "MODWSGI_CACHE_SIGN_KEY")
	}
	if v := run.Getenv(env, "MODWSGI_CACHE_TRUST"); len(trust) == 0 && v != "" {
		trust = []string{v}
		if !strings.HasPrefix(strings.TrimSpace(v), "-----BEGIN") {
			trust = filepath.SplitList(v)
		}
	}
	o := remote.Options{Env: env, Runner: runner, HTTP: s.CacheHTTP, Dir: dir, Lock: lock}
	var err error
	if o.Age, err = sharedAge(s, env); err != nil {
		return nil, err
	}
	if signKey != "" {
		if o.Signer, err = remote.ReadSigner(signKey, dir); err != nil {
			return nil, err
		}
	}
	if o.Trust, err = remote.ReadTrust(trust, dir, o.Signer); err != nil {
		return nil, err
	}
	return remote.Open(address, o)
}

// sharedAge reads --cache-max-age and --cache-not-before, or the variables of the
// environment.
func sharedAge(s SharedOptions, env []string) (a remote.Age, err error) {
	from := func(option, value, variable string) (string, string) {
		if value != "" {
			return value, option
		}
		return run.Getenv(env, variable), variable
	}
	limit, name := from("--cache-max-age", s.CacheMaxAge, "MODWSGI_CACHE_MAX_AGE")
	switch limit {
	case "":
	case "none":
		a.Max = -1
	default:
		a.Max, err = cachedir.ParseAge(limit)
		if err == nil && a.Max == 0 {
			err = fmt.Errorf("%q is not an age", limit)
		}
		if err != nil {
			return a, fault.New(fault.Usage, "write an age such as 30d, 2w or 36h, or none", "%s: %w", name, err)
		}
	}
	date, name := from("--cache-not-before", s.CacheNotBefore, "MODWSGI_CACHE_NOT_BEFORE")
	if date == "" {
		return a, nil
	}
	if a.NotBefore, err = time.Parse(time.RFC3339, date); err != nil {
		if a.NotBefore, err = time.Parse(time.DateOnly, date); err != nil {
			return a, fault.New(fault.Usage, "write a date such as 2026-11-28, or a time such as 2026-11-28T16:00:00Z", "%s: %q is not a date", name, date)
		}
	}
	return a, nil
}
