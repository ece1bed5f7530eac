package httpdbuild

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/relocate"
	"modwsgi/internal/toolchain"
)

// crossAnswers are the results of configure tests that run a program, which is not
// possible for another machine. They are about the interfaces of the kernel and the C
// library, for Linux with glibc 2.17 (2012) or newer.
var crossAnswers = []string{
	"ac_cv_file__dev_zero=yes", "ac_cv_func_setpgrp_void=yes", "ac_cv_func_sem_open=yes", "ac_cv_struct_rlimit=yes",
	"ac_cv_o_nonblock_inherited=no", "ac_cv_tcp_nodelay_inherited=yes", "ac_cv_working_getaddrinfo=yes", "ac_cv_working_getnameinfo=yes",
	"ac_cv_negative_eai=yes", "ac_cv_strerror_r_rc_int=no", "ac_cv_epoll_wait_has_reliable_timeout=yes",
	"ap_cv_atomic_builtins=yes", "ap_cv__atomic_builtins=yes", "ap_cv_atomic_builtins64=yes", "ap_cv__atomic_builtins64=yes",
	"apr_cv_process_shared_works=yes", "apr_cv_mutex_robust_shared=yes", "apr_cv_mutex_recursive=yes", "apr_cv_tcp_nodelay_with_cork=yes",
	"apr_cv_epoll=yes", "apr_cv_epoll_create1=yes", "apr_cv_dup3=yes", "apr_cv_accept4=yes", "apr_cv_sock_cloexec=yes", "apr_cv_gai_addrconfig=yes",
	"ap_cv_void_ptr_lt_long=no", "ap_cv_gettid=yes", "ap_cv_crypt_sha2=yes", "apr_cv_epoll_wait_has_reliable_timeout=yes", "apr_cv_pthreads_cflags=none", "apr_cv_pthreads_lib=-lpthread",
}

// muslAnswers differ for musl: its strerror_r is the one of POSIX
// (https://wiki.musl-libc.org/functional-differences-from-glibc.html).
var muslAnswers = map[string]string{"ac_cv_strerror_r_rc_int": "yes"}

// cross holds the arguments of configure if the compiler targets another machine.
func (b *builder) cross() []string {
	if b.Host.Cross == "" {
		return nil
	}
	return append([]string{"--host=" + b.Host.Cross, "--build=" + toolchain.BuildMachine()}, b.settings()...)
}

// settings are the results of tests for a cross build, sorted: those of every Linux, of its
// C library, and of the target.
func (q *Request) settings() []string {
	all := map[string]string{}
	for _, a := range crossAnswers {
		name, value, _ := strings.Cut(a, "=")
		all[name] = value
	}
	if strings.HasPrefix(q.Host.Libc, "musl") {
		maps.Copy(all, muslAnswers)
	}
	maps.Copy(all, q.Answers)
	if q.component(crypt) != nil { // which has what the C library lacks
		for _, name := range []string{"crypt", "crypt_r"} {
			delete(all, "ac_cv_func_"+name)
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out
}

// checkCross refuses a target for which the answers above may be wrong, and the driver
// that would run httpd's programs on this machine.
func (b *builder) checkCross(ctx context.Context) error {
	if b.Host.Cross == "" {
		return nil
	}
	glibc, musl := strings.HasPrefix(b.Host.Libc, "glibc"), strings.HasPrefix(b.Host.Libc, "musl")
	if !strings.Contains(b.Host.Target, "linux") || !glibc && !musl {
		return fault.New(fault.Environment, "build on such a machine", "cannot cross-compile httpd for %s, only for Linux with glibc or musl", b.Host.Target)
	}
	if b.Driver == Make {
		return fault.New(fault.Environment, "use --build-driver native, or build on such a machine",
			"make cannot cross-compile httpd for %s: it would run programs for that machine on this one", b.Host.Target)
	}
	if b.component(crypt) != nil {
		return nil
	}
	err := b.Host.Try(ctx, b.Runner, filepath.Join(b.Work, "tmp"), "crypt", "char *crypt(const char *, const char *);\nint main(void) { return !crypt(\"a\", \"b\"); }\n", "-lcrypt")
	if err != nil {
		return fault.New(fault.Environment, "install it where that compiler looks (Debian: libcrypt-dev of that architecture), or add its directory to CC with -L",
			"libcrypt for %s, which APR-util needs, was not found: %w", b.Host.Target, toolchain.WithTail(err))
	}
	return nil
}

// relocateConfigScripts makes apr-1-config and apu-1-config answer for their own directory.
// Configured for another machine, they take any directory but the final one for a copy
// of that machine's file system.
func (b *builder) relocateConfigScripts(name string) error {
	file, ok := map[string]string{"apr": "apr-1-config", "apr-util": "apu-1-config"}[name]
	if !ok || b.Host.Cross == "" {
		return nil
	}
	file = filepath.Join(b.dir(name), file)
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return writeFile(file, crossCompiling.ReplaceAll(data, []byte("cross_compiling=no")), 0o755)
}

var crossCompiling = regexp.MustCompile(`(?m)^cross_compiling=.*$`)

// checkMachine inspects the finished files instead of running httpd: all must be for
// one machine other than the host.
func (b *builder) checkMachine() error {
	machine, count := "", 0
	for _, name := range filetree.Glob(b.stage, "*/*") {
		if !relocate.IsELF(name) {
			continue
		}
		f, err := elf.Read(name)
		if err != nil {
			return err
		}
		count++
		if machine == "" {
			machine = f.Machine
		}
		if f.Machine != machine {
			return fmt.Errorf("%s is for %s, but others are for %s", filepath.Base(name), f.Machine, machine)
		}
	}
	if count == 0 {
		return fmt.Errorf("no binaries in %s", b.stage)
	}
	return nil
}
