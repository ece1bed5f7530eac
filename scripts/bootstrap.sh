#!/bin/sh
# Installs modwsgi, mod_wsgi-express and mod_wsgi-apxs: downloads the archive for
# this machine, compares it with the hash that is written below, and puts the
# programs into ~/.local/bin or $PREFIX/bin. docs/reference/bootstrap.md tells more.
#
# The one in scripts/ is a template: it has no hashes, and refuses to work. "make
# dist" writes dist/bootstrap.sh, with the version and the hashes of the archives
# beside it.
#
# Any POSIX shell runs it (dash, bash, busybox). All of it is one function that is
# called at the end, so that half of a script does nothing.

main() {
	set -eu
	version=''
	base_url=''
	program=bootstrap.sh
	work=
	parse "$@"
	[ -n "$version" ] || die 3 "this is the template, which has no hashes" "run make dist, and take dist/bootstrap.sh"
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

# pins prints one line for each platform: system, machine, SHA-256, archive.
pins() {
	cat <<'PINS'
PINS
}

help() {
	cat <<HELP
usage: $program [--prefix DIRECTORY] [--url ADDRESS] [--version] [--help]

Installs modwsgi, mod_wsgi-express and mod_wsgi-apxs ${version:-(no version: this is the template)}
into DIRECTORY/bin, by default \$PREFIX/bin or else ~/.local/bin.

  --prefix DIRECTORY  where to; bin is made below it
  --url ADDRESS       directory of the archives: http(s)://, file:// or a path
  --version           print the version that would be installed
  --help              print this

MODWSGI_DOWNLOAD_URL  the same as --url
PREFIX                the same as --prefix
http_proxy, https_proxy, no_proxy are obeyed by curl and wget.
HELP
}

say() { printf '%s\n' "$*" >&2; }

# die CODE WHAT [CURE]: the codes are those of modwsgi (docs/reference/exit-codes.md).
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

# choose finds the archive for this machine, where it comes from and goes to.
choose() {
	system=$(uname -s) || die 3 "uname does not say what system this is"
	machine=$(uname -m) || die 3 "uname does not say what machine this is"
	case $system in
	Linux) system=linux ;;
	Darwin) system=darwin ;;
	MINGW* | MSYS* | CYGWIN* | Windows_NT) system=windows ;;
	esac
	case $machine in
	x86_64 | amd64) machine=amd64 ;;
	aarch64 | arm64) machine=arm64 ;;
	esac
	# A shell for Intel on an ARM Mac (Rosetta) does not know what it runs on.
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
	[ -n "$pinned" ] || die 3 "there are no programs for $system/$machine" "there are some for $known; or build them: https://go.dev/dl and make build"
	exe=
	[ "$system" != windows ] || exe=.exe
	[ -n "$url" ] || url=$base_url
	[ -n "$url" ] || die 3 "it is not known where $archive is" "set MODWSGI_DOWNLOAD_URL, or give --url, to the directory that has it"
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
}

have() { command -v "$1" >/dev/null 2>&1; }

# find_tools decides what downloads, hashes and unpacks, before anything is done.
find_tools() {
	case $url in
	http://* | https://*)
		if have curl; then
			fetcher=curl
		elif have wget; then
			fetcher=wget
		else
			die 3 "there is neither curl nor wget" "install one of them, or download $archive yourself and give its directory with --url"
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
		die 3 "there is no program that computes SHA-256" "install sha256sum (coreutils), shasum or openssl"
	fi
	for tool in mktemp mv rm chmod; do
		have "$tool" || die 3 "the program $tool is missing"
	done
	if [ "$system" = windows ]; then
		have unzip || die 3 "the program unzip is missing"
	else
		have tar || die 3 "the program tar is missing"
		have gzip || have gunzip || die 3 "the program gzip is missing"
	fi
}

# prepare makes a directory beside the target, so that moving is one step.
prepare() {
	made=
	[ -d "$bin" ] || made=yes
	mkdir -p "$bin" 2>/dev/null || die 3 "the directory $bin cannot be made" "give another one with --prefix"
	trap cleanup EXIT
	trap 'interrupted 130' INT
	trap 'interrupted 143' TERM
	trap 'interrupted 129' HUP
	work=$(mktemp -d "$bin/.modwsgi-bootstrap.XXXXXX" 2>/dev/null) || {
		work=
		die 3 "the directory $bin cannot be written to" "give another one with --prefix"
	}
	warn_of_owner
	for name in modwsgi mod_wsgi-express mod_wsgi-apxs; do
		[ ! -d "$bin/$name$exe" ] || die 3 "$bin/$name$exe is a directory" "move it away, or give another --prefix"
	done
}

# warn_of_owner tells root about a directory whose programs another user can replace.
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
	# Directories that were made for nothing go again, those that hold something stay.
	[ "$code" = 0 ] || [ -z "$made" ] || rmdir "$bin" "$prefix" 2>/dev/null || true
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
		if have timeout; then limit='timeout 1800'; fi # wget alone waits for ever for a byte a minute
		# shellcheck disable=SC2086 # nothing or one word
		$limit wget -q -T 60 $tries -O "$file" "$url/$archive" || not_fetched $?
		;;
	cp) cp "$url/$archive" "$file" || not_fetched $? ;;
	esac
	[ -s "$file" ] || die 4 "$archive is empty" "look at $(without_secret "$url") in a browser"
}

not_fetched() {
	hint="see that $(without_secret "$url") is right and can be reached from here"
	for name in https_proxy HTTPS_PROXY http_proxy HTTP_PROXY all_proxy ALL_PROXY; do
		eval "proxy=\${$name:-}"
		[ -z "$proxy" ] || hint="$hint; the proxy $(without_secret "$proxy") is used, as $name says"
	done
	[ "$fetcher" = cp ] && hint="see that the directory $url has it"
	die 4 "$archive could not be fetched ($fetcher ended with $1)" "$hint"
}

# without_secret takes user and password out of an address.
without_secret() { printf '%s\n' "$1" | sed 's,//[^/@]*@,//,'; }

verify() {
	sum=$($hasher "$file") || die 3 "the SHA-256 of $archive could not be computed"
	sum=${sum%% *}
	sum=${sum#\\} # sha256sum marks names that it has to escape
	[ "$sum" = "$pinned" ] && return
	size=$(wc -c <"$file" | tr -d ' ')
	if head -c 512 "$file" | tr '[:upper:]' '[:lower:]' | grep -q -e '<html' -e '<!doctype'; then
		die 4 "instead of $archive there came a web page ($size bytes)" "a proxy, a login page or a wrong address: look at $(without_secret "$url")"
	fi
	say "  wanted $pinned"
	say "  got    $sum ($size bytes)"
	die 4 "$archive is not the one that this script was made for; nothing was installed" "it was damaged or cut off on its way, or it is of another version: take archive and script from one release"
}

unpack() {
	mkdir "$work/tree"
	case $archive in
	*.zip) unzip -q "$file" -d "$work/tree" ;;
	*) (cd "$work/tree" && gzip -dc "$file" | tar -xf -) ;;
	esac || die 3 "$archive could not be unpacked" "see that the file system of $bin has room"
	set -- "$work"/tree/*/"modwsgi$exe"
	[ -f "$1" ] || die 4 "there is no modwsgi in $archive"
	tree=${1%/*}
	for name in modwsgi mod_wsgi-express mod_wsgi-apxs; do
		[ -f "$tree/$name$exe" ] || die 4 "there is no $name in $archive"
		chmod 755 "$tree/$name$exe"
	done
	# What cannot run here must not take the place of what can.
	found=$("$tree/modwsgi$exe" --version 2>&1) || die 3 "modwsgi does not run here: $found" "is $bin on a file system that forbids execution? give another one with --prefix"
	case $found in
	"modwsgi $version"*) ;;
	*) die 4 "the program says that it is $found, not modwsgi $version" ;;
	esac
}

# place moves the programs, modwsgi at last: where it is new the others are too.
place() {
	trap '' INT TERM HUP
	for name in mod_wsgi-apxs mod_wsgi-express modwsgi; do
		mv -f "$tree/$name$exe" "$bin/$name$exe" || die 3 "$bin/$name$exe cannot be replaced" "see who may write to it, then run this again"
	done
	say "installed $bin/modwsgi"
	case :${PATH:-}: in
	*:"$bin":*) ;;
	*) say "note: $bin is not in PATH" ;;
	esac
}

main "$@"
