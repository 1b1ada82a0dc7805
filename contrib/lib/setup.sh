# Shared by contrib/quickstart.sh and test/run.sh (sourced, POSIX sh): install Debian packages, copy
# the source tree, build it, and run things as an ordinary user.
#
# Always true: nothing is written into the source tree; root never runs PostgreSQL, and the program only in test/root; a
# package that is already installed is never touched, so on a complete machine neither root nor a
# network is needed.

# What a build needs.  libc6-dev is named because gcc only recommends it.
build_packages="autoconf automake make gcc libc6-dev pkgconf libpq-dev libssl-dev zlib1g-dev liblz4-dev
	libzstd-dev libbz2-dev libxxhash-dev libiniparser-dev libssh2-1-dev"

say() { printf '%s\n' "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# The caller's environment must not reach into servers and commands that we start.
clean_environment() {
	for name in $(env | sed -n 's/^\(PG[A-Z0-9_]*\)=.*/\1/p'); do
		unset "$name"
	done
	unset CDPATH GREP_OPTIONS MAKEFLAGS MAKELEVEL MFLAGS
	LC_ALL=C.UTF-8 PAGER=cat PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	export LC_ALL PAGER PATH
	umask 022
}

# as_root CMD...: as root, through sudo where we are not root; 126 where there is no way.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif ! command -v sudo >/dev/null 2>&1; then
		return 126
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

# as_user CMD...: as an ordinary user: postgres when we are root (the package postgresql makes it),
# else as we are.  $work, if set, is the home.
as_user() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups \
			env HOME="${work:-/tmp}" USER=postgres LOGNAME=postgres "$@"
	else
		"$@"
	fi
}

missing_packages() {
	for package in "$@"; do
		state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || state=
		[ "$state" = installed ] || printf '%s ' "$package"
	done
}

# need_packages NAME...: install what is missing.  Debian's postgresql package would make a cluster
# "main" and start it, and openssh-server would listen: settings that stand only while we install
# prevent that, and a new sshd does not start with the machine either.
need_packages() {
	command -v dpkg-query >/dev/null 2>&1 || die "this script installs with apt: it needs Debian 12 or newer.
Elsewhere install the counterparts of: $(echo $*)
then: autoreconf -fi && mkdir build && cd build && ../configure && make"
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	say "installing: $missing"
	as_root env DEBIAN_FRONTEND=noninteractive sh -c '
		set -e
		setting=/etc/postgresql-common/createcluster.d/pgstrata-no-main.conf
		log=$(mktemp)
		had_dir=$(ls -d "${setting%/*}" 2>/dev/null || true)
		mkdir -p "${setting%/*}"
		printf "create_main_cluster = false\n" >"$setting"
		policy=/usr/sbin/policy-rc.d
		if [ -e "$policy" ]; then policy=; else printf "#!/bin/sh\nexit 101\n" >"$policy"; chmod 755 "$policy"; fi
		trap "rm -f \"$setting\" \"$log\" $policy; [ -n \"$had_dir\" ] || rmdir \"${setting%/*}\" 2>/dev/null || :" EXIT
		trap "exit 1" HUP INT TERM
		{ apt-get update -qq -o Acquire::Retries=3 &&
			apt-get install -y -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
				--no-install-recommends "$@"; } </dev/null >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
		case " $* " in *" openssh-server "*) systemctl -q disable ssh.service ssh.socket 2>/dev/null || : ;; esac
	' sh $missing || die "could not install: $missing
As root: apt-get update && apt-get install $missing"
}

# The programs of the newest PostgreSQL on this machine: initdb, pg_ctl, psql.
postgres_bin() {
	for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5nr); do
		[ -x "$bin/initdb" ] && { say "$bin"; return 0; }
	done
	die "no PostgreSQL server found in /usr/lib/postgresql"
}

# make_work NAME: sets $work to a new folder that belongs to the user of as_user.  Its path is
# short, because socket paths end at 107 bytes, and plain, because it becomes part of commands that
# people type.
make_work() {
	base=${TMPDIR:-/tmp}
	case $base in *[!A-Za-z0-9_./-]*) base=/tmp ;; esac
	[ "${#base}" -le 40 ] && as_user test -w "$base" -a -x "$base" || base=/tmp
	work=$(mktemp -d "$base/$1.XXXXXX") || die "cannot make a folder in $base"
	chmod 755 "$work"
	[ "$(id -u)" != 0 ] || chown postgres: "$work"
}

# copy_tree SOURCE DEST: the source tree without what earlier builds left, owned by the user of
# as_user. Git's opinion is asked where there is one; a clone below /root belongs to root, hence the
# cd first.
copy_tree() (
	cd "$1" || exit 1
	mkdir -p "$2" || exit 1
	if top=$(git -c safe.directory='*' rev-parse --show-toplevel 2>/dev/null) && [ "$top" = "$(pwd -P)" ]; then
		git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
			perl -0ne 'chomp; print "$_\0" if -e || -l' | tar -cf - --no-recursion --null -T -
	else
		tar -cf - --exclude=./.git --exclude='./build*' --exclude=./autom4te.cache --exclude=./aclocal.m4 \
			--exclude='./configure' --exclude=./Makefile.in --exclude=./config.status --exclude='*.o' .
	fi | tar -xf - --no-same-owner -C "$2" || exit 1
	[ "$(id -u)" != 0 ] || chown -R postgres: "$2"
)

# build_tree SOURCE NAME LOG CONFIGURE-ARGUMENT...: into SOURCE/NAME, as the ordinary user; the end
# of LOG is shown when it fails.  configure is called by a relative name: it refuses an absolute one
# with a blank.
build_tree() {
	build_in=$1 build_name=$2 build_log=$3
	shift 3
	as_user sh -c '
		set -e
		cd "$1"
		[ -x configure ] || autoreconf -fi
		mkdir -p "$2"
		cd "$2"
		shift 2
		../configure "$@"
		make -j"$(nproc)"
	' sh "$build_in" "$build_name" "$@" >"$build_log" 2>&1 </dev/null || {
		tail -n 40 "$build_log"
		say "the build failed: $build_log"
		return 1
	}
}
