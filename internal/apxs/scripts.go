package apxs

// APRConfig is the program bin/apr-1-config of a bundled httpd. It answers what building
// a module needs, relative to its own location. (APR's own program contains the prefix of
// the build.) It omits flags whose directory contains white space, because callers split
// the answer; INCLUDEDIR has the same headers.
const APRConfig = configScript + `includes=$root/include
header=$includes/apr_version.h
name=apr
test -f "$header" || includes=$root/include/apr-1 header=$root/include/apr-1/apr_version.h
` + configAnswers

// APUConfig is the program bin/apu-1-config of a bundled httpd; see [APRConfig].
const APUConfig = configScript + `includes=$root/include
header=$includes/apu_version.h
name=aprutil
test -f "$header" || includes=$root/include/apr-1 header=$root/include/apr-1/apu_version.h
` + configAnswers

const configScript = `#!/bin/sh
# Answers for the httpd tree that this file is in, wherever that is.
# Written by modwsgi; see also mod_wsgi-apxs.
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 1
`

const configAnswers = `part() { sed -n "s/^#define *AP[RU]_$1_VERSION *\([0-9][0-9]*\).*/\1/p" "$header"; }
words() { case "$1" in *[[:space:]]*) echo ;; *) echo "$2$1$3" ;; esac; }
test $# -gt 0 || { echo "usage: $0 --includes | --version | ..." >&2; exit 1; }
for option do
  case $option in
    --includes) words "$includes" -I ;;
    --includedir) echo "$includes" ;;
    --prefix|--exec-prefix|--srcdir) echo "$root" ;;
    --bindir) echo "$root/bin" ;;
    --version) echo "$(part MAJOR).$(part MINOR).$(part PATCH)" ;;
    --cppflags) echo "-DLINUX -D_REENTRANT -D_GNU_SOURCE" ;;
    --cflags) echo "-pthread" ;;
    --link-ld) words "$root/lib" -L " -l$name-1" ;;
    --ldflags|--libs) echo ;;
    --cc) echo "${CC:-cc}" ;;
    *) echo "$0: $option is not supported" >&2; exit 1 ;;
  esac
done
`
