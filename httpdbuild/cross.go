package httpdbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/relocate"
	"modwsgi/internal/toolchain"
)

// crossAnswers are the results of configure tests that run a program, which is not
// possible for another machine. They are about the interfaces of the kernel and the C
// library, for Linux with glibc of the last ten years.
var crossAnswers = []string{
	"ac_cv_file__dev_zero=yes", "ac_cv_func_setpgrp_void=yes", "ac_cv_func_sem_open=yes", "ac_cv_struct_rlimit=yes",
	"ac_cv_o_nonblock_inherited=no", "ac_cv_tcp_nodelay_inherited=yes", "ac_cv_working_getaddrinfo=yes", "ac_cv_working_getnameinfo=yes",
	"ac_cv_negative_eai=yes", "ac_cv_strerror_r_rc_int=no", "ac_cv_epoll_wait_has_reliable_timeout=yes",
	"ap_cv_atomic_builtins=yes", "ap_cv__atomic_builtins=yes", "ap_cv_atomic_builtins64=yes", "ap_cv__atomic_builtins64=yes",
	"apr_cv_process_shared_works=yes", "apr_cv_mutex_robust_shared=yes", "apr_cv_mutex_recursive=yes", "apr_cv_tcp_nodelay_with_cork=yes",
	"apr_cv_epoll=yes", "apr_cv_epoll_create1=yes", "apr_cv_dup3=yes", "apr_cv_accept4=yes", "apr_cv_sock_cloexec=yes", "apr_cv_gai_addrconfig=yes",
	"ap_cv_void_ptr_lt_long=no", "ap_cv_gettid=yes", "ap_cv_crypt_sha2=yes", "apr_cv_epoll_wait_has_reliable_timeout=yes", "apr_cv_pthreads_cflags=none", "apr_cv_pthreads_lib=-lpthread",
}

// cross holds the arguments of configure if the compiler targets another machine.
func (b *builder) cross() []string {
	if b.Host.Cross == "" {
		return nil
	}
	return append([]string{"--host=" + b.Host.Cross, "--build=" + toolchain.BuildMachine()}, crossAnswers...)
}

// checkCross refuses a target for which the answers above may be wrong, and the driver
// that would run httpd's programs on this machine.
func (b *builder) checkCross(ctx context.Context) error {
	if b.Host.Cross == "" {
		return nil
	}
	if !strings.Contains(b.Host.Target, "linux") || !strings.HasPrefix(b.Host.Libc, "glibc") {
		return fault.New(fault.Environment, "build on such a machine", "cannot cross-compile httpd for %s, only for Linux with glibc", b.Host.Target)
	}
	if b.Driver == Make {
		return fault.New(fault.Environment, "use --build-driver native, or build on such a machine",
			"make cannot cross-compile httpd for %s: it would run programs for that machine on this one", b.Host.Target)
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
