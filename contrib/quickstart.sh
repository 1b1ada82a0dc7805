#!/bin/sh
# pgStrata in two minutes: builds it, starts a throwaway PostgreSQL, archives and backs up,
# destroys, restores to a point in time, and shows each step as a user would type it.  Needs Debian
# 12 or newer, as root or with sudo if something has to be installed.  Listens on no network port,
# leaves nothing running, and writes only into one new folder, whose name it prints.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib/setup.sh"

# For developers: show another program with the same commands instead of building this one.
program=${PGSTRATA_PROGRAM:-}
clean_environment

# word TEXT: as a shell would want it typed.
word() {
	case $1 in
	*[\"\$\`\\]*) printf " '%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
	*[!A-Za-z0-9_./:=,@%+-]* | '') printf ' "%s"' "$1" ;;
	*) printf ' %s' "$1" ;;
	esac
}

# show CMD...: print a command line and run it, as the ordinary user.
show() {
	printf '\n$'
	for argument in "$@"; do word "$argument"; done
	printf '\n'
	as_user "$@" </dev/null
}
sql() { as_user psql -XAtq -v ON_ERROR_STOP=1 -h "$work" -d postgres -c "$1" </dev/null; }
query() { show psql -X -h "$work" -d postgres -c "$1"; }
step() { printf '\n== %s\n' "$*"; }

# Whatever happens, no server stays behind.
finish() {
	status=$?
	trap - EXIT
	if [ -n "${work:-}" ] && [ -f "$work/data/postmaster.pid" ]; then
		as_user pg_ctl -D "$work/data" -m immediate stop >/dev/null 2>&1 || :
	fi
	if [ -n "${work:-}" ] && [ "$status" != 0 ]; then
		say "quickstart failed (exit $status); what it made is in $work, server log: $work/log/postgresql.log" >&2
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -n "$program" ]; then need_packages postgresql; else need_packages $build_packages postgresql; fi
pg_bin=$(postgres_bin)
PATH=$pg_bin:$PATH
make_work pgstrata
cd "$work"
as_user mkdir "$work/bin" "$work/repo" "$work/log" "$work/lock" "$work/spool"
if [ -n "$program" ]; then
	cp "$program" "$work/bin/"
	name=${program##*/}
else
	say "building pgStrata (about a minute) ..."
	copy_tree "$here/.." "$work/src"
	build_tree "$work/src" build "$work/log/build.log"
	name=pgstrata
	cp "$work/src/build/pgstrata" "$work/bin/"
	rm -rf "$work/src"
fi
PATH=$work/bin:$PATH
strata="$name --config=$work/pgstrata.conf --stanza=demo"

step "A configuration, and a PostgreSQL server that archives its WAL through it"
as_user tee "$work/pgstrata.conf" >/dev/null <<END
[global]
repo1-path=$work/repo
repo1-retention-full=2
log-path=$work/log
lock-path=$work/lock
spool-path=$work/spool
log-level-console=info
log-timestamp=n
start-fast=y

[demo]
pg1-path=$work/data
pg1-socket-path=$work
END
printf '\n$ export PATH=%s:%s:$PATH\n' "$work/bin" "$pg_bin"
show cat "$work/pgstrata.conf"
as_user initdb -D "$work/data" -A trust >"$work/log/initdb.log" 2>&1 || { cat "$work/log/initdb.log"; exit 1; }
as_user tee -a "$work/data/postgresql.conf" >/dev/null <<END

listen_addresses = ''
unix_socket_directories = '$work'
archive_mode = on
archive_command = '$strata --log-level-console=warn archive-push %p'
END
show tail -n 4 "$work/data/postgresql.conf"
show pg_ctl -D "$work/data" -l "$work/log/postgresql.log" -w -s start
show $strata stanza-create
show $strata check

step "Some data, and a full backup"
query "CREATE TABLE account AS SELECT id, 'owner ' || id AS owner, id % 1000 AS balance FROM generate_series(1, 20000) AS id"
show $strata --type=full backup
show $strata info

step "Life goes on: these rows are only in the archived WAL; then a point to come back to"
query "INSERT INTO account SELECT id, 'owner ' || id, id % 1000 FROM generate_series(20001, 25000) AS id"
before=$(sql "SELECT count(*) || ' rows, balance ' || sum(balance) FROM account")
query "SELECT count(*), sum(balance) FROM account"
query "SELECT pg_create_restore_point('before_the_accident')"

step "The accident: a table is dropped, and then the disk goes"
query "DROP TABLE account"
sql "SELECT pg_switch_wal()" >/dev/null
show pg_ctl -D "$work/data" -w -s -m fast stop
show rm -r "$work/data/base"

step "Restore to the point before the accident, into the same data directory"
show $strata --delta --type=name --target=before_the_accident --target-action=promote restore
show pg_ctl -D "$work/data" -l "$work/log/postgresql.log" -w -s start
tries=0
until [ "$(sql 'SELECT pg_is_in_recovery()')" = f ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 60 ] || die "the server did not leave recovery"
	sleep 1
done
query "SELECT count(*), sum(balance) FROM account"
after=$(sql "SELECT count(*) || ' rows, balance ' || sum(balance) FROM account")
show $strata info
as_user pg_ctl -D "$work/data" -w -s -m fast stop

step "Result"
say "before the accident: $before"
say "after the restore:   $after"
[ "$before" = "$after" ] || die "the restored table differs"
say "Everything is in $work (program, configuration, repository, data, logs); nothing is left running.
Look around, or remove it: rm -r $work"
