#!/bin/sh
# Install what is missing, build, run the tests; the last line is "N passed, N failed, N skipped".
#
#	sh test/run.sh            one build with sanitizers, all tests: at most 20 minutes
#	sh test/run.sh --ci       at most 60 minutes: gcc and clang, full matrices, a release build from `make dist`,
#	                          and all of it again with Debian 13's PostgreSQL and pgbackrest in a root of its own
#	sh test/run.sh --deep     the long campaigns
#	sh test/run.sh TEXT...    only tests whose path contains one of the texts
#
# Needs Debian 12 or newer; root or sudo only where packages are missing, and for the Debian 13
# root.  Everything happens in a copy that an ordinary user can read, because PostgreSQL refuses
# root.  Always true: at the end no process, mount or folder of ours is left; KEEP=1 keeps the
# folder, JOBS=N runs N programs at a time (by default one more than there are processors: many tests wait).
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/contrib/lib/setup.sh"

usage() { sed -n 's/^#	//p' "$0"; exit "$1"; }

mode=default
matches=
for argument in "$@"; do
	case $argument in
	--ci) mode=ci ;;
	--deep) mode=deep ;;
	--help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*[!A-Za-z0-9_./-]*) die "not part of a test's path: $argument" ;;
	*) matches="$matches --match $argument" ;;
	esac
done

test_packages="$build_packages libcmocka-dev openssh-server perl pgbackrest postgresql zstd"
ci_packages="$test_packages clang debootstrap xz-utils"
deep_packages="$test_packages clang libclang-rt-dev"
passed=0 failed=0 skipped=0
begun=$(date +%s)
work='' debian13=''

# kill_ours FOLDER: end whatever still runs in or from a folder of ours; says what it was.
kill_ours() {
	for process in /proc/[0-9]*; do
		pid=${process#/proc/}
		[ "$pid" != $$ ] || continue
		command=$(cat "$process/cmdline" 2>/dev/null | tr '\0' ' ')
		case "$(readlink "$process/cwd"):$(readlink "$process/exe"):$command" in
		*"$1"*) kill -KILL "$pid" 2>/dev/null && say "process $pid: $command" ;;
		esac
	done
}

finish() {
	status=$?
	trap - EXIT HUP INT TERM
	cd /
	if [ -n "$debian13" ]; then
		as_root umount "$debian13/dev/pts" "$debian13/proc" 2>/dev/null
		[ -n "${KEEP:-}" ] || as_root rm -rf --one-file-system "$debian13"
	fi
	if [ -n "$work" ]; then
		kill_ours "$work" >/dev/null
		[ ! -d "$work/r" ] || [ -n "${KEEP:-}" ] || as_root rm -rf "$work/r"
		[ -z "${PGS_SMALL:-}" ] || as_root umount "$PGS_SMALL" 2>/dev/null
		if [ -n "${KEEP:-}" ]; then say "kept: $work $debian13"; else rm -rf "$work"; fi
	fi
	[ -n "${counted:-}" ] || failed=$((failed + 1))
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" = 0 ] && [ "$passed" != 0 ] && exit "$status"
	exit 1
}

# phase NAME FUNCTION [ARGUMENT...]: a heading, the time, and one failure if the function itself
# fails.
phase() {
	say "== $1"
	phase_name=$1 phase_begun=$(date +%s)
	shift
	"$@" || { failed=$((failed + 1)); say "FAIL $phase_name"; }
	say "== $phase_name: $(($(date +%s) - phase_begun)) s"
}

# add_totals FILE: the last line of a run of tests; a run that did not get there is a failure.
add_totals() {
	totals=$(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$1")
	[ -n "$totals" ] || return 1
	set -- $totals
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# logged NAME CMD...: output goes to a log, whose end is shown when the command fails.
logged() {
	log=$work/log/$1.log
	shift
	"$@" >>"$log" 2>&1 </dev/null || { tail -n 40 "$log"; return 1; }
}

# build SOURCE NAME CONFIGURE-ARGUMENT...: the program and the unit test programs.  A test program
# that does not compile is one failure; the others still run.
build() {
	source=$1 name=$2
	shift 2
	build_tree "$source" "$name" "$work/log/$name.log" --enable-werror "$@" || return 1
	logged "$name" as_user make -s -k -C "$source/$name" check TESTS= -j"$(nproc)" || failed=$((failed + 1))
}

# run_tests SOURCE NAME PATH...: run the tests at PATH, relative to SOURCE (test programs: to its
# build).  What they leave in their folder for temporary files, or running, is a failure; in CI also
# an avoidable skip.
run_tests() {
	source=$1 name=$2
	shift 2
	as_user mkdir -p "$work/t" "$work/log/$name"
	for path in "$@"; do
		shift
		case $path in
		test/unit | test/driver) path=$source/$name/$path ;;
		*) path=$source/$path ;;
		esac
		[ ! -e "$path" ] || set -- "$@" "$path"
	done
	(
		cd "$source" && as_user env srcdir="$source" builddir="$source/$name" TMPDIR="$work/t" \
			perl test/lib/run-tap.pl --log "$work/log/$name" --jobs "${JOBS:-$(($(nproc) + 1))}" \
			--limit "$each" --until "$until" $matches "$@"
	) </dev/null | tee "$work/log/$name.totals" | sed -u '$d'
	add_totals "$work/log/$name.totals" || return 1
	leftover=$(kill_ours "$work/t"; ls -A "$work/t")
	if [ -n "$leftover" ] && [ -z "${KEEP:-}" ]; then
		say "left behind by the tests:" "$leftover"
		as_user rm -rf "$work/t"
		return 1
	fi
	if [ "$mode" = ci ] && grep '^     skipped: ' "$work/log/$name.totals" | grep -qv 'cannot here: '; then
		say "CI skips nothing that Debian can install"
		return 1
	fi
}

# What only root can do: the program runs as root in a folder of its own.
root_tests() {
	if ! as_root true 2>/dev/null; then
		say "     skipped: test/root: cannot here: neither root nor sudo"
		skipped=$((skipped + 1))
		return 0
	fi
	as_user mkdir -p "$work/log/root"
	as_root mkdir "$work/r"
	(
		cd "$work/src" && as_root env srcdir="$work/src" builddir="$work/src/build" TMPDIR="$work/r" \
			perl test/lib/run-tap.pl --log "$work/log/root" --limit "$each" --until "$until" $matches \
			test/root build/test/unit/test_beneath
	) </dev/null | tee "$work/log/root.totals" | sed -u '$d'
	leftover=$(kill_ours "$work/r"; as_root ls -A "$work/r")
	[ -n "${KEEP:-}" ] || as_root rm -rf "$work/r"
	add_totals "$work/log/root.totals" || return 1
	[ -z "$leftover" ] || [ -n "${KEEP:-}" ] || { say "left behind by root's tests:" "$leftover"; return 1; }
}

# build_and_test NAME CONFIGURE-ARGUMENT...
build_and_test() {
	build "$work/src" "$@" || return 1
	run_tests "$work/src" "$1" test/unit test/driver test/lint test/scenario test/interop test/fault
}

# What `make dist` packs is complete, builds in a folder with a blank in its name, installs, works
# as installed and is removed without a trace.
release() {
	logged dist as_user make -s -C "$work/src/build" dist || return 1
	as_user mkdir "$work/a b"
	as_user tar -xf "$work"/src/build/pgstrata-*.tar.xz -C "$work/a b" --strip-components=1 || return 1
	build "$work/a b" build-release CC=gcc CFLAGS=-O2 || return 1
	logged install as_user make -s -C "$work/a b/build-release" install DESTDIR="$work/installed" || return 1
	export PGSTRATA="$work/installed/usr/local/bin/pgstrata"
	run_tests "$work/a b" build-release test/unit test/driver test/lint test/scenario/001_smoke.t
	tested=$?
	unset PGSTRATA
	logged install as_user make -s -C "$work/a b/build-release" uninstall DESTDIR="$work/installed" || tested=1
	left=$(find "$work/installed" -type f)
	[ -z "$left" ] || { say "make uninstall left:" "$left"; return 1; }
	return $tested
}

# A file system of 24 MiB for the tests of full disks, where we may mount one.
small_disk() {
	as_user mkdir "$work/small"
	if as_root mount -t tmpfs -o "size=24m,mode=700,uid=$(as_user id -u),gid=$(as_user id -g)" tmpfs "$work/small" 2>/dev/null; then
		export PGS_SMALL="$work/small"
	fi
}

# The mirror that this machine installs from, as apt understands its set-up.
mirror() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v codename="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" '
			$3 == "main" && $2 == codename { best = $1 }
			$3 == "main" && $2 ~ /stable$|^testing$|^sid$/ && other == "" { other = $1 }
			END { print best != "" ? best : other }'
}

# All tests again in a minimal Debian 13, set up by this same script, so that its installing is
# tested too.  Name spaces of its own take processes and mounts with them; where the kernel forbids
# those, finish unmounts.
debian_13() {
	if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = trixie ]; then
		say "this is Debian 13: done already"
		return 0
	fi
	url=$(mirror)
	[ -n "$url" ] || { say "no mirror found in apt's set-up"; return 1; }
	[ -n "${http_proxy:-}" ] || eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
	debian13=$(mktemp -d /var/tmp/pgstrata-trixie-XXXXXX) && chmod 755 "$debian13" || return 1
	alone='unshare -m -p -f --kill-child --mount-proc'
	as_root $alone true 2>/dev/null || alone=
	if [ -z "$alone" ] && ! as_root mount -t proc proc "$debian13" 2>/dev/null; then
		say "     skipped: Debian 13: cannot here: this machine permits no mounts"
		skipped=$((skipped + 1))
		return 0
	fi
	[ -n "$alone" ] || as_root umount "$debian13"
	as_root $alone env http_proxy="${http_proxy:-}" DEBIAN_FRONTEND=noninteractive sh -c '
		root=$1 log=$3
		inside() {
			chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root http_proxy="$http_proxy" \
				CI="$CI" TEST_FULL="$TEST_FULL" sh "$@" </dev/null 2>&1
		}
		debootstrap --variant=minbase trixie "$root" "$2" >"$log/debootstrap.log" 2>&1 || {
			tail -n 20 "$log/debootstrap.log"
			exit 1
		}
		cp -a "$4" "$root/src"
		mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
		chmod 1777 "$root/dev/shm"
		if inside /src/contrib/quickstart.sh >"$log/quickstart-13.log"; then
			echo "quickstart on a bare Debian 13: ok"
		else
			tail -n 40 "$log/quickstart-13.log"
		fi
		inside /src/test/run.sh
	' sh "$debian13" "$url" "$work/log" "$work/src" 2>&1 |
		tee "$work/log/debian13.totals" | sed -u '$d; s/^/   /'
	add_totals "$work/log/debian13.totals" &&
		grep -q '^quickstart on a bare Debian 13: ok$' "$work/log/debian13.totals" && passed=$((passed + 1))
}

# The other command of the README, as a user would run it.
quickstart() {
	as_user mkdir -p "$work/q"
	TMPDIR="$work/q" logged quickstart sh "$here/contrib/quickstart.sh" || return 1
	passed=$((passed + 1))
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
clean_environment
cd / # the ordinary user may not be allowed where we were called
limit=1140 each=600 packages=$test_packages
case $mode in
ci) limit=3500 packages=$ci_packages ;;
deep) limit=86400 each=14400 packages=$deep_packages TEST_FULL=1 TEST_DEEP=1 ;;
esac
export CI="${CI:-}" TEST_FULL="${TEST_FULL:-}" TEST_DEEP="${TEST_DEEP:-}"
until=$((begun + limit))

phase "packages" need_packages $packages
make_work pgst
as_user mkdir "$work/log"
copy_tree "$here" "$work/src" || die "cannot copy the source tree"
small_disk
phase "gcc, sanitizers, fault injection" \
	build_and_test build CC=gcc --enable-sanitizers --enable-faults
phase "as root" root_tests
if [ "$mode" = ci ]; then
	phase "quickstart" quickstart
	# the full matrices once, where nothing slows them down
	TEST_FULL=1
	phase "clang, full matrices" build_and_test build-clang CC=clang --enable-faults
	TEST_FULL=
	phase "release build from make dist, in a path with a blank" release
	phase "Debian 13" debian_13
fi
say "== all: $(($(date +%s) - begun)) s"
counted=yes
