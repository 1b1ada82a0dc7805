#!/bin/sh
# The WAL archive against Debian's pgbackrest, on this machine, in one run: ours and theirs in turn, medians.
#
#   sh test/bench/wal.sh [PROGRAM]     default: pgstrata found in PATH
#
# SEGMENTS (paired runs of push and get for each codec, default 20), BACKLOG (segments that wait for an asynchronous push,
# default 50), ROUNDS (of that and of recovery, default 2) and WORKERS (default 2) change it.
# Run as the user that may start PostgreSQL, not as root; it works below ${TMPDIR:-/tmp} and removes what it made.
set -eu

. "$(dirname "$0")/common.sh"
timed="perl $(cd "$(dirname "$0")" && pwd)/timed.pl"
segments=${SEGMENTS:-20} backlog=${BACKLOG:-50} rounds=${ROUNDS:-2}

for who in ours peer; do
	conf "$who" pgbackrest repo
	conf "$who" async repo archive-async=y
done
ours_async="$program --config=$work/ours/async.conf --stanza=b"
theirs_async="$peer --config=$work/peer/async.conf --stanza=b"

sql() { "$bindir/psql" -h "$work" -XAtqc "$1" postgres; }

# archive_by COMMAND: PostgreSQL archives by it from here on; '': nothing is archived.
archive_by() {
	sql "ALTER SYSTEM SET archive_command = '$1'"
	sql 'SELECT pg_reload_conf()' >/dev/null
	sleep 0.5
}

ready() { (cd "$work/pg/pg_wal/archive_status" && ls | sed -n 's/\.ready$//p'); }

# The same WAL is in both archives: their format is the same.
share() {
	for who in ours peer; do
		[ $who = ours ] && other=peer || other=ours
		(cd "$work/$who/repo/archive/b" && find ./*/ -type f ! -name '*.tmp' -exec cp -n --parents {} "$work/$other/repo/archive/b/" \;)
	done
}

# One scale of pgbench is a segment.
stanzas=$(printf '%s\n' "$ours" "$theirs")
make_cluster $((segments + 6)) "archive_command='$ours archive-push %p && $theirs archive-push %p'" max_wal_size=8GB wal_keep_size=2GB
$ours --type=full backup
$theirs --type=full backup

# --- push and get, one by one ---

mkdir "$work/wal"
sql 'SELECT pg_switch_wal()' >/dev/null
# shellcheck disable=SC2046
$timed archived "$work/pg" 120 $(ready) >/dev/null
for f in "$work"/pg/pg_wal/0*; do
	s=${f##*/}
	case $s in *.*) continue ;; esac
	[ "$(ls "$work/wal" | wc -l)" -ge "$segments" ] || [ ! -e "$work/pg/pg_wal/archive_status/$s.done" ] || cp "$f" "$work/wal/"
done

# task NAME WHO WORD...: a line for timed.pl.
task() { printf '%s\t' "$@" | sed 's/\t$//'; echo; }

# pair CODEC LEVEL: each segment is taken out of both archives before it is pushed again; what was got before goes, as with
# PostgreSQL, because replacing a file costs more than making one.
pair() {
	codec=$1 level=$2
	say "push and get of $segments segments of 16 MiB, $codec $level"
	for f in "$work"/wal/*; do
		s=${f##*/}
		task - - sh -c "rm -f '$work'/*/repo/archive/b/*/*/$s-* '$work'/get.*; sync"
		for who in ours peer; do
			[ $who = ours ] && command=$ours || command=$theirs
			# shellcheck disable=SC2086
			task "push-$codec" $who $command --compress-type="$codec" --compress-level="$level" archive-push "$f"
		done
		for who in ours peer; do
			[ $who = ours ] && command=$ours || command=$theirs
			# shellcheck disable=SC2086
			task "get-$codec" $who $command archive-get "$s" "$work/get.$who"
		done
		task - - sh -c "cmp '$work/get.ours' '$f' && cmp '$work/get.peer' '$f'"
	done | $timed runs "$work"
	# once more for the memory
	rm -f "$work"/*/repo/archive/b/*/*/"$s"-*
	for who in ours peer; do
		[ $who = ours ] && command=$ours || command=$theirs
		/usr/bin/time -o "$work/push-$codec.$who.kb" -f %M $command --compress-type="$codec" --compress-level="$level" archive-push "$f"
		/usr/bin/time -o "$work/get-$codec.$who.kb" -f %M $command archive-get "$s" "$work/get.$who"
	done
}
pair zst 3
pair lz4 1
pair gz 6

# --- push in the background while pgbench writes ---

# behind: so many segments wait.
behind() {
	archive_by ''
	sql 'TRUNCATE fill'
	while [ "$(ready | wc -l)" -lt "$backlog" ]; do
		sql 'INSERT INTO fill SELECT id, md5(id::text) FROM generate_series(1, 500000) AS id'
	done
}

sql 'CREATE TABLE fill (id int, text text)'

# async WHO COMMAND
async() {
	who=$1
	say "asynchronous push of $backlog segments, $who"
	behind
	names=$(ready)
	: >"$work/once"
	$timed watch "$work/async.$who.kb" "$work/$who/async.conf" &
	watch=$!
	"$bindir/pgbench" -h "$work" -n -c 2 -T 600 postgres >/dev/null 2>&1 &
	bench=$!
	helpers="$watch $bench"
	sleep 1
	sql "ALTER SYSTEM SET archive_command = '$timed once $work/once $2 archive-push %p'"
	sql 'SELECT pg_reload_conf(), pg_switch_wal()' >/dev/null
	# shellcheck disable=SC2086
	ms=$($timed archived "$work/pg" 300 $names)
	n=$(printf '%s\n' "$names" | wc -l)
	awk -v ms="$ms" -v n="$n" 'BEGIN { printf "%.2f 0\n", ms / n }' >>"$work/async.$who"
	head -n "$n" "$work/once" | awk '{ s += $1 } END { printf "%.2f 0\n", s / NR }' >>"$work/wait.$who"
	kill $bench
	wait $bench 2>/dev/null || true
	sql 'SELECT pg_switch_wal()' >/dev/null
	# shellcheck disable=SC2046
	$timed archived "$work/pg" 300 $(ready) >/dev/null
	kill $watch
	wait $watch 2>/dev/null || true
	helpers=
	archive_by ''
}
i=0
while [ "$i" -lt "$rounds" ]; do
	async ours "$ours_async"
	async peer "$theirs_async"
	i=$((i + 1))
done
sql 'DROP TABLE fill'
sql 'SELECT pg_switch_wal()' >/dev/null
archive_by "$ours archive-push %p"
# shellcheck disable=SC2046
$timed archived "$work/pg" 120 $(ready) >/dev/null
archive_by ''
"$bindir/pg_ctl" -D "$work/pg" -m fast -w stop >/dev/null
share

# --- recovery, get in the background ---

# recovery WHO COMMAND: from the first line of recovery to its end, by the server's clock.
recovery() {
	who=$1
	say "recovery with asynchronous get, $who"
	rm -rf "$work/restored" "$work/restored.log"
	mkdir -m 700 "$work/restored"
	sync
	$2 --pg1-path="$work/restored" --archive-mode=off restore
	$timed watch "$work/recovery.$who.kb" "$work/$who/async.conf" &
	watch=$!
	helpers=$watch
	"$bindir/pg_ctl" -D "$work/restored" -l "$work/restored.log" -w -s -t 600 -o "-p 5433 -c log_line_prefix='%n '" start
	until grep -q 'archive recovery complete' "$work/restored.log" 2>/dev/null; do
		"$bindir/pg_ctl" -D "$work/restored" status >/dev/null || { tail -n 20 "$work/restored.log" >&2; exit 1; }
		sleep 0.2
	done
	kill $watch
	wait $watch 2>/dev/null || true
	helpers=
	recovered=$(grep -c 'restored log file "0.*[0-9A-F]" from archive' "$work/restored.log")
	sed -n 's/^\([0-9.]*\) LOG: .*\(starting archive recovery\|archive recovery complete\).*/\1/p' "$work/restored.log" |
		awk 'NR == 1 { from = $1 } { to = $1 } END { printf "%.0f 0\n", 1000 * (to - from) }' >>"$work/recovery.$who"
	"$bindir/pg_ctl" -D "$work/restored" -m immediate -w stop >/dev/null
}
i=0
while [ "$i" -lt "$rounds" ]; do
	recovery ours "$ours_async"
	recovery peer "$theirs_async"
	i=$((i + 1))
done

# --- the table ---

mean() { awk '{ s += $1 } END { printf "%.2f\n", NR ? s / NR : 0 }'; }
most() { sort -n "$1" | tail -n 1; }

row() {
	for who in ours peer; do
		eval "wall_$who=\$(cut -d' ' -f1 \"$work/$1.$who\" | median)"
		eval "cpu_$who=\$(cut -d' ' -f2 \"$work/$1.$who\" | mean)"
		eval "kb_$who=0; [ ! -e \"$work/$1.$who.kb\" ] || kb_$who=\$(most \"$work/$1.$who.kb\")"
	done
	# shellcheck disable=SC2154
	awk -v n="$1" -v a="$wall_ours" -v b="$wall_peer" -v c="$cpu_ours" -v d="$cpu_peer" -v e="$kb_ours" -v g="$kb_peer" '
	function cell(v, form) { return v > 0 ? sprintf(form, v) : "" }
	BEGIN {
		printf("| %-13s | %8.1f | %8.1f | %5.2f | %8s | %8s | %5s | %6s | %6s |\n", n, a, b, b > 0 ? a / b : 0, cell(c, "%.1f"),
			cell(d, "%.1f"), d > 0 ? sprintf("%.2f", c / d) : "", cell(e / 1024, "%.1f"), cell(g / 1024, "%.1f"))
	}'
}

echo "$(versions), $workers workers, medians of $segments runs (CPU: means); async: per segment, $backlog wait and pgbench writes;" \
	"wait: what PostgreSQL waits for one archive_command then; recovery: of $recovered segments with asynchronous get; $rounds rounds each"
echo
echo "|               | wall, ms | peer     | ratio | CPU, ms  | peer     | ratio | MB     | peer   |"
echo "|---------------|----------|----------|-------|----------|----------|-------|--------|--------|"
for codec in zst lz4 gz; do
	row push-$codec
	row get-$codec
done
row async
row wait
row recovery
echo
for who in ours peer; do
	echo "asynchronous push, $who: $(cut -d' ' -f1 "$work/async.$who" | median | awk '{ printf "%.1f", 1000 / $1 }') segments per second"
done
