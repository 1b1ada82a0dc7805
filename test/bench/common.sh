# What bench.sh and wal.sh share: the two programs, a folder to work in, configurations, a server, medians.
#
# Sourced with the program as $1.  Run as the user that may start PostgreSQL, not as root; everything is below
# ${TMPDIR:-/tmp} and removed at the end.
program=$(command -v "${1:-pgstrata}") || { echo "bench: ${1:-pgstrata} not found" >&2; exit 1; }
peer=$(command -v pgbackrest) || { echo "bench: pgbackrest not found" >&2; exit 1; }
[ -x /usr/bin/time ] || { echo "bench: /usr/bin/time not found (Debian package time)" >&2; exit 1; }
[ "$(id -u)" != 0 ] || { echo "bench: PostgreSQL refuses to run as root" >&2; exit 1; }
bindir=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
workers=${WORKERS:-2}

work=$(mktemp -d "${TMPDIR:-/tmp}/pgbackrest-bench.XXXXXX")
helpers= # processes to end with us
stop() {
	# shellcheck disable=SC2086
	[ -z "$helpers" ] || kill $helpers 2>/dev/null || true
	for data in "$work/pg" "$work/restored"; do
		"$bindir/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1 || true
	done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

say() { printf '%s\n' "$*" >&2; }

# conf WHO NAME REPOSITORY [LINE...]: a configuration of a program; the cluster is the same for all.
conf() {
	who=$1 name=$2 repo=$3
	shift 3
	mkdir -p "$work/$who/$repo" "$work/$who/log" "$work/$who/lock" "$work/$who/spool"
	cat >"$work/$who/$name.conf" <<-END
	[global]
	$(printf '%s\n' "$@")
	repo1-path=$work/$who/$repo
	repo1-retention-full=9999999
	log-path=$work/$who/log
	lock-path=$work/$who/lock
	spool-path=$work/$who/spool
	log-level-console=error
	compress-type=zst
	compress-level=3
	process-max=$workers
	start-fast=y
	[b]
	pg1-path=$work/pg
	pg1-socket-path=$work
	END
}
ours="$program --config=$work/ours/pgbackrest.conf --stanza=b"
theirs="$peer --config=$work/peer/pgbackrest.conf --stanza=b"

# make_cluster SCALE SETTING...: a server with pgbench's tables and a stanza for each of the commands in $stanzas.
make_cluster() {
	scale=$1
	shift
	say "making a cluster with pgbench scale $scale"
	"$bindir/initdb" -D "$work/pg" -A trust -k >/dev/null
	printf '%s\n' "listen_addresses=''" "unix_socket_directories='$work'" archive_mode=on fsync=off "$@" \
		>>"$work/pg/postgresql.conf"
	"$bindir/pg_ctl" -D "$work/pg" -l "$work/server.log" -w start >/dev/null
	printf '%s\n' "$stanzas" | while IFS= read -r command; do
		$command stanza-create
	done
	"$bindir/pgbench" -h "$work" -i -q -s "$scale" postgres >/dev/null 2>&1
	"$bindir/psql" -h "$work" -qc checkpoint postgres
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# What was measured on what.
versions() {
	echo "$("$program" version), $("$peer" version), PostgreSQL $("$bindir/postgres" -V | awk '{ print $3 }'), $(nproc) cores"
}
