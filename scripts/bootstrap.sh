#!/bin/sh
# Installs modwsgi into ~/.local/bin or $PREFIX/bin: downloads the archive for this
# machine, verifies its SHA-256 against the pinned one below, and moves the programs.
# mod_wsgi-express and mod_wsgi-apxs, which modwsgi puts into environments, go into
# libexec/modwsgi beside bin: on PATH, upstream's setup.py would take mod_wsgi-apxs for
# the httpd to build for. See docs/reference/bootstrap.md.
#
# The file in scripts/ is a template without hashes and refuses to run. "make
# dist" writes dist/bootstrap.sh, which has the version and the hashes of the
# archives in dist/.
#
# Works with any POSIX shell (dash, bash, busybox). Everything is in functions, and
# main is called on the last line, so that a truncated script does nothing.

main() {
	set -eu
	version=''
	base_url=''
	program=bootstrap.sh
	work=
	parse "$@"
	[ -n "$version" ] || die 3 "this is the template, which has no hashes" "run make dist, and use dist/bootstrap.sh"
	if [ "$action" = version ]; then
		echo "$program for modwsgi $version"
		return
	fi
	choose
	find_tools
	prepare
	download
	verify
	unpack
	place
}

# pins prints one line per platform: system, machine, SHA-256, archive.
pins() {
	cat <<'PINS'
PINS
}

help() {
	cat <<HELP
usage: $program [--prefix DIRECTORY] [--url ADDRESS] [--version] [--help]

Installs modwsgi ${version:-(no version: this is the template)}
into DIRECTORY/bin, by default \$PREFIX/bin or else ~/.local/bin. The programs that modwsgi puts into
environments go into DIRECTORY/libexec/modwsgi: mod_wsgi-express and, on Linux, mod_wsgi-apxs.

  --prefix DIRECTORY  install into its directories bin and libexec
  --url ADDRESS       directory of the archives: http(s)://, file:// or a path
  --version           print the version that the script installs
  --help              print this help

MODWSGI_DOWNLOAD_URL  the same as --url
PREFIX                the same as --prefix
curl and wget use the proxies in http_proxy, https_proxy and no_proxy.
HELP
}

say() { printf '%s\n' "$*" >&2; }

# die CODE MESSAGE [HINT]: exits with one of modwsgi's exit codes
# (docs/reference/exit-codes.md).
die() {
	say "$program: error: $2"
	[ -z "${3:-}" ] || say "$program: hint: $3"
	exit "$1"
}

parse() {
	action=install
	prefix=${PREFIX:-}
	url=${MODWSGI_DOWNLOAD_URL:-}
	while [ $# -gt 0 ]; do
		case $1 in
		--help | -h)
			help
			exit 0
			;;
		--version) action=version ;;
		--prefix | --url)
			[ $# -ge 2 ] && [ -n "$2" ] || die 2 "$1 needs a value" "$program --help lists the options"
			if [ "$1" = --prefix ]; then prefix=$2; else url=$2; fi
			shift
			;;
		--prefix=?*) prefix=${1#*=} ;;
		--url=?*) url=${1#*=} ;;
		*) die 2 "unknown option $1" "$program --help lists the options" ;;
		esac
		shift
	done
}

# choose selects the archive for this machine, its address and the target directory.
choose() {
	system=$(uname -s) || die 3 "uname does not report the system"
	machine=$(uname -m) || die 3 "uname does not report the machine type"
	case $system in
	Linux) system=linux ;;
	Darwin) system=darwin ;;
	MINGW* | MSYS* | CYGWIN* | Windows_NT) system=windows ;;
	esac
	# What modwsgi puts into environments on this system, as in internal/platform.
	case $system in
	linux) programs='mod_wsgi-apxs mod_wsgi-express' ;;
	windows) programs=mod_wsgi-express ;;
	*) programs= ;;
	esac
	case $machine in
	x86_64 | amd64) machine=amd64 ;;
	aarch64 | arm64) machine=arm64 ;;
	esac
	# Under Rosetta on an ARM Mac, uname reports x86_64.
	if [ "$system $machine" = "darwin amd64" ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || true)" = 1 ]; then
		machine=arm64
	fi
	pinned=
	archive=
	known=
	while read -r s m hash name; do
		[ -n "$s" ] || continue
		known="$known${known:+, }$s/$m"
		if [ "$s $m" = "$system $machine" ]; then
			pinned=$hash
			archive=$name
		fi
	done <<TABLE
$(pins)
TABLE
	[ -n "$pinned" ] || die 3 "no programs for $system/$machine in this release" "it has programs for $known; or build them with Go (https://go.dev/dl) and make build"
	exe=
	[ "$system" != windows ] || exe=.exe
	[ -n "$url" ] || url=$base_url
	[ -n "$url" ] || die 3 "the address of $archive is unknown" "set MODWSGI_DOWNLOAD_URL or --url to the directory that contains it"
	url=${url%/}
	if [ -z "$prefix" ]; then
		case ${HOME:-} in
		/*) prefix=$HOME/.local ;;
		*) die 3 "HOME is not set to an absolute path" "set it, or give --prefix" ;;
		esac
	fi
	case $prefix in
	/* | [A-Za-z]:[/\\]*) ;;
	*) prefix=$PWD/$prefix ;;
	esac
	bin=${prefix%/}/bin
	libexec=${prefix%/}/libexec/modwsgi
}

have() { command -v "$1" >/dev/null 2>&1; }

# find_tools selects the programs that download, hash and unpack, before anything
# is changed.
find_tools() {
	case $url in
	http://* | https://*)
		if have curl; then
			fetcher=curl
		elif have wget; then
			fetcher=wget
		else
			die 3 "neither curl nor wget was found" "install one of them, or download $archive yourself and pass its directory with --url"
		fi
		;;
	file:///*)
		fetcher=cp
		url=${url#file://}
		;;
	/* | [A-Za-z]:[/\\]*) fetcher=cp ;;
	*) die 2 "$url is neither an address (http, https, file) nor an absolute path" "change --url or MODWSGI_DOWNLOAD_URL" ;;
	esac
	if have sha256sum; then
		hasher=sha256sum
	elif have shasum; then
		hasher='shasum -a 256'
	elif have openssl; then
		hasher='openssl dgst -sha256 -r'
	else
		die 3 "no program that computes SHA-256 was found" "install sha256sum (coreutils), shasum or openssl"
	fi
	for tool in mktemp mkdir cp mv rm chmod; do
		have "$tool" || die 3 "the program $tool is missing"
	done
	if [ "$system" = windows ]; then
		have unzip || die 3 "the program unzip is missing"
	else
		have tar || die 3 "the program tar is missing"
		have gzip || have gunzip || die 3 "the program gzip is missing"
	fi
}

# prepare creates a directory on the file system of each target directory, so that each
# program is moved by one rename.
prepare() {
	made=
	work=
	staged=
	trap cleanup EXIT
	trap 'interrupted 130' INT
	trap 'interrupted 143' TERM
	trap 'interrupted 129' HUP
	temporary "$bin"
	work=$temporary
	if [ -n "$programs" ]; then
		temporary "$libexec"
		staged=$temporary
	fi
	warn_of_owner
	for file in "$bin/modwsgi$exe" "$libexec/mod_wsgi-express$exe" "$libexec/mod_wsgi-apxs$exe"; do
		[ ! -d "$file" ] || die 3 "$file is a directory" "move it away, or choose another --prefix"
	done
}

# temporary DIRECTORY creates a directory in it, and DIRECTORY if it does not exist.
temporary() {
	above=$1
	while [ ! -d "$above" ]; do # innermost first, as cleanup removes them
		made="$made$above
"
		above=${above%/*}
		above=${above:-/}
	done
	mkdir -p "$1" 2>/dev/null || die 3 "cannot create the directory $1" "choose another one with --prefix"
	temporary=$(mktemp -d "$1/.modwsgi-bootstrap.XXXXXX" 2>/dev/null) ||
		die 3 "cannot write to the directory $1" "choose another one with --prefix"
}

# warn_of_owner warns root if another user can replace the programs.
warn_of_owner() {
	have id && have find && [ "$(id -u)" = 0 ] || return 0
	at=$(cd "$bin" && pwd -P) || return 0
	while :; do
		if [ -n "$(find "$at" -prune ! -user 0 -print 2>/dev/null)" ]; then
			say "$program: warning: $at belongs to another user, who can replace the programs that root runs from $bin"
			return 0
		fi
		[ "$at" != / ] || return 0
		at=${at%/*}
		at=${at:-/}
	done
}

cleanup() {
	code=$?
	trap - EXIT
	[ -z "$work" ] || rm -rf "$work"
	[ -z "$staged" ] || rm -rf "$staged"
	# After a failure, remove the directories that this run created, if they are
	# empty.
	if [ "$code" != 0 ]; then
		while read -r dir; do
			[ -z "$dir" ] || rmdir "$dir" 2>/dev/null || true
		done <<DIRECTORIES
$made
DIRECTORIES
	fi
	exit "$code"
}

interrupted() {
	say "$program: interrupted; nothing was installed"
	exit "$1"
}

download() {
	say "modwsgi $version for $system/$machine from $(without_secret "$url")"
	file=$work/$archive
	case $fetcher in
	curl) curl -fsSL --connect-timeout 30 --speed-limit 1024 --speed-time 30 --max-time 1800 --retry 2 -o "$file" "$url/$archive" || not_fetched $? ;;
	wget)
		tries=
		if wget --help 2>&1 | grep -q -e '--tries'; then tries='--tries=3'; fi
		limit=
		if have timeout; then limit='timeout 1800'; fi # wget has no limit on the total time
		# shellcheck disable=SC2086 # empty, or one word
		$limit wget -q -T 60 $tries -O "$file" "$url/$archive" || not_fetched $?
		;;
	cp) cp "$url/$archive" "$file" || not_fetched $? ;;
	esac
	[ -s "$file" ] || die 4 "$archive is empty" "open $(without_secret "$url") in a browser"
}

not_fetched() {
	hint="check that $(without_secret "$url") is correct and reachable from this machine"
	for name in https_proxy HTTPS_PROXY http_proxy HTTP_PROXY all_proxy ALL_PROXY; do
		eval "proxy=\${$name:-}"
		[ -z "$proxy" ] || hint="$hint; the proxy $(without_secret "$proxy") from $name is used"
	done
	[ "$fetcher" = cp ] && hint="check that the directory $url contains it"
	die 4 "cannot download $archive ($fetcher exited with $1)" "$hint"
}

# without_secret removes the user name and the password from an address.
without_secret() { printf '%s\n' "$1" | sed 's,//[^/@]*@,//,'; }

verify() {
	sum=$($hasher "$file") || die 3 "cannot compute the SHA-256 of $archive"
	sum=${sum%% *}
	sum=${sum#\\} # sha256sum prepends a backslash if it escapes the name
	[ "$sum" = "$pinned" ] && return
	size=$(wc -c <"$file" | tr -d ' ')
	if head -c 512 "$file" | tr '[:upper:]' '[:lower:]' | grep -q -e '<html' -e '<!doctype'; then
		die 4 "the server sent a web page instead of $archive ($size bytes)" "a proxy, a login page or a wrong address: open $(without_secret "$url") in a browser"
	fi
	say "  wanted $pinned"
	say "  got    $sum ($size bytes)"
	die 4 "$archive does not have the pinned SHA-256; nothing was installed" "the download was damaged or truncated, or the archive is from another version: use the archive and the script of the same release"
}

unpack() {
	mkdir "$work/tree"
	case $archive in
	*.zip) unzip -q "$file" -d "$work/tree" ;;
	*) (cd "$work/tree" && gzip -dc "$file" | tar -xf -) ;;
	esac || die 3 "cannot unpack $archive" "check that there is free space on the file system of $bin"
	set -- "$work"/tree/*/bin/"modwsgi$exe"
	[ -f "$1" ] || die 4 "$archive does not contain modwsgi"
	new=$1
	chmod 755 "$new"
	for name in $programs; do
		file=${new%/bin/*}/libexec/modwsgi/$name$exe
		[ -f "$file" ] || die 4 "$archive does not contain $name"
		cp "$file" "$staged/$name$exe" || die 3 "cannot write to the directory $libexec" "check that there is free space on its file system"
		chmod 755 "$staged/$name$exe"
	done
	# A program that cannot run here must not replace one that can.
	found=$("$new" --version 2>&1) || die 3 "modwsgi does not run here: $found" "if $bin is on a file system mounted noexec, choose another directory with --prefix"
	case $found in
	"modwsgi $version"*) ;;
	*) die 4 "the program reports the version $found, not modwsgi $version" ;;
	esac
}

# place moves the programs, modwsgi last: if it is new, the others are too.
place() {
	trap '' INT TERM HUP
	for name in $programs; do
		mv -f "$staged/$name$exe" "$libexec/$name$exe" || die 3 "cannot replace $libexec/$name$exe" "check its permissions, then run this script again"
	done
	mv -f "$new" "$bin/modwsgi$exe" || die 3 "cannot replace $bin/modwsgi$exe" "check its permissions, then run this script again"
	for name in $programs; do
		retire "$name"
	done
	say "installed $bin/modwsgi"
	[ -n "$programs" ] || say "note: modwsgi does not build or serve on this system; modwsgi doctor reports what works instead"
	case :${PATH:-}: in
	*:"$bin":*) ;;
	*) say "note: $bin is not in PATH" ;;
	esac
}

# retire NAME removes the program that an earlier version of this script put into bin.
# One that knows its environment was put there by modwsgi install, and stays; so does a
# script, which is upstream's.
retire() {
	old=$bin/$1$exe
	[ -f "$old" ] && [ "$(head -c 2 "$old" 2>/dev/null)" != '#!' ] || return 0
	case $("$old" --version 2>/dev/null </dev/null || true) in
	"$1 "*) ;;
	*) return 0 ;;
	esac
	case $1 in
	mod_wsgi-apxs) "$old" -q PREFIX ;;
	*) "$old" module-location ;;
	esac >/dev/null 2>&1 </dev/null && return 0
	rm -f "$old" || die 3 "cannot remove $old, which is in $libexec now" "remove it: where it is on PATH, pip install mod_wsgi of other environments takes it for theirs"
	say "removed $old, which is in $libexec now"
}

main "$@"
