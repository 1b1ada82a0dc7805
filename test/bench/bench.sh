#!/bin/sh
# Side-by-side benchmark against Debian's pgbackrest, on this machine, in one run: ours and theirs in turn, medians.
#
#   sh test/bench/bench.sh [PROGRAM]     default: pgstrata found in PATH
#
# SCALE (pgbench scale; 100 is about 1.5 GB), RUNS (default 5), WORKERS (default 2), SEGMENTS (default 20), FILES (small files
# for the second half, in bundles, default 100000; 0 leaves it out) and FILE_RUNS (default 3) change it.
# Run as the user that may start PostgreSQL, not as root; it works below ${TMPDIR:-/tmp} and removes what it made.
set -eu

. "$(dirname "$0")/common.sh"
scale=${SCALE:-100} runs=${RUNS:-5} segments=${SEGMENTS:-20}
files=${FILES:-100000} file_runs=${FILE_RUNS:-3}

for who in ours peer; do
	conf "$who" pgbackrest repo
	# encrypted, without WAL: that goes to the other repository only
	conf "$who" secret secret repo1-cipher-type=aes-256-cbc 'repo1-cipher-pass=a passphrase' archive-check=n
done
ours_secret="$program --config=$work/ours/secret.conf --stanza=b"
theirs_secret="$peer --config=$work/peer/secret.conf --stanza=b"

stanzas=$(printf '%s\n' "$ours" "$theirs" "$ours_secret" "$theirs_secret")
make_cluster "$scale" "archive_command='$ours archive-push %p && $theirs archive-push %p'" max_wal_size=8GB

# run NAME WHO COMMAND...: one measured run; appends "wall cpu peak_kb" to a file.  Before it everything is synced, so
# that nobody pays for what others wrote.
run() {
	name=$1 who=$2
	shift 2
	sync
	/usr/bin/time -o "$work/t" -f '%e %U %S %M' "$@" >/dev/null
	tail -n 1 "$work/t" | awk '{ print $1, $2 + $3, $4 }' >>"$work/$name.$who"
}

row() {
	for column in 1 2 3; do
		for who in ours peer; do
			eval "v_${who}_$column=\$(cut -d' ' -f$column \"$work/$1.$who\" | median)"
		done
	done
	# shellcheck disable=SC2154
	awk -v n="$1" -v f="$2" -v a="$v_ours_1" -v b="$v_peer_1" -v c="$v_ours_2" -v d="$v_peer_2" -v e="$v_ours_3" \
		-v g="$v_peer_3" 'BEGIN {
		wall = (b > 0) ? a / b : 0; cpu = (d > 0) ? c / d : 0
		printf("| %-13s | %8.*f | %8.*f | %5.2f | %8.*f | %8.*f | %5.2f | %6.1f | %6.1f |\n", n, f, a, f, b, wall,
			f, c, f, d, cpu, e / 1024, g / 1024) }'
}

# both NAME COMMAND...: one measured run of each program; who is first changes from call to call.
turn=0
both() {
	name=$1
	shift
	turn=$((1 - turn))
	# shellcheck disable=SC2086
	if [ "$turn" = 1 ]; then
		run "$name" ours $ours "$@"
		run "$name" peer $theirs "$@"
	else
		run "$name" peer $theirs "$@"
		run "$name" ours $ours "$@"
	fi
}

# drain: all WAL written so far is archived, so that the first backup after a change does not wait for that of others.
drain() {
	segment=$("$bindir/psql" -h "$work" -XAtqc 'SELECT pg_walfile_name(pg_switch_wal())' postgres)
	until "$bindir/psql" -h "$work" -XAtqc "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver" postgres | grep -q t; do
		sleep 0.1
	done
}

# A thousandth of the rows, or of the small files, is changed, all over the cluster.
change() {
	if [ -z "$1" ]; then
		"$bindir/psql" -h "$work" -qc 'UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 1000 = 7' \
			-c checkpoint postgres
		drain
	else
		find "$work/pg/extra" -type f -name '*777' -exec sh -c 'for f; do echo more >>"$f"; done' sh '{}' +
	fi
}

# Is the peer of this version (2.46) or newer?
peer_since() { [ "$(printf '%s\n' "$1" "$("$peer" version | cut -d' ' -f2)" | sort -V | head -n 1)" = "$1" ]; }

# parts: what a full backup cannot do without, each by itself: reading and SHA-1, reading and zstd -3 (CPU seconds).
parts() {
	for part in 'openssl sha1' 'zstd -q -3 -c'; do
		/usr/bin/time -o "$work/t" -f '%U %S' sh -c "find '$work/pg/base' -type f -exec cat {} + | $part >/dev/null"
		awk '{ print $1 + $2 }' "$work/t" >>"$work/parts.${part%% *}"
	done
}

# back_and_forth SUFFIX [OPTION]: a full backup, an incremental one of what is the same, one after a change, a restore of
# that chain and a delta restore over it, by each.
back_and_forth() {
	suffix=$1
	shift
	both "full$suffix" --type=full "$@" backup
	both "same$suffix" --type=incr "$@" backup
	change "$suffix"
	both "incr$suffix" --type=incr "$@" backup
	# A virtual machine charges the first use of memory to whoever comes first: one restore that does not count
	# goes before, and what it freed is there for both.
	mkdir -m 700 "$work/restored"
	# shellcheck disable=SC2086
	{
		$theirs --pg1-path="$work/restored" --type=none restore
		for who in ours peer; do
			[ $who = ours ] && command=$ours || command=$theirs
			rm -rf "$work/restored"
			mkdir -m 700 "$work/restored"
			run "restore$suffix" $who $command --pg1-path="$work/restored" --type=none restore
			run "delta$suffix" $who $command --pg1-path="$work/restored" --type=none --delta restore
		done
	}
	rm -rf "$work/restored"
}

i=0
while [ "$i" -lt "$runs" ]; do
	say "backup and restore, run $((i + 1)) of $runs"
	back_and_forth ''
	# shellcheck disable=SC2086
	{
		run full-aes ours $ours_secret --type=full backup
		run full-aes peer $theirs_secret --type=full backup
	}
	# One per cent of the rows, all in one place.
	"$bindir/psql" -h "$work" -qc "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= $scale * 1000" \
		-c checkpoint postgres
	drain
	both table --type=incr backup
	for codec in none lz4 gz; do
		both "full-$codec" --type=full --compress-type=$codec backup
	done
	both full-bundle --type=full --repo1-bundle backup
	if peer_since 2.46; then
		both full-block --type=full --repo1-bundle --repo1-block backup
		change ''
		both incr-block --type=incr --repo1-bundle --repo1-block backup
	fi
	parts
	i=$((i + 1))
done

# All backups and WAL are read; then all but the newest chain goes.
say "verify and expire"
both verify verify
both expire --repo1-retention-full=1 expire

# Segments that PostgreSQL really wrote and archived; each is taken out of both archives before it is pushed again.
say "push and get of $segments segments of 16 MiB"
mkdir "$work/wal" "$work/get"
for f in "$work"/pg/pg_wal/archive_status/*.done; do
	s=${f##*/} s=${s%.done}
	case $s in *.*) continue ;; esac
	[ "$(ls "$work/wal" | wc -l)" -ge "$segments" ] || [ ! -f "$work/pg/pg_wal/$s" ] || cp "$work/pg/pg_wal/$s" "$work/wal/"
done
for f in "$work"/wal/*; do
	s=${f##*/}
	rm -f "$work"/ours/repo/archive/b/*/*/"$s"-* "$work"/peer/repo/archive/b/*/*/"$s"-*
	# shellcheck disable=SC2086
	{
		run push ours $ours archive-push "$f"
		run push peer $theirs archive-push "$f"
		rm -f "$work"/get/? # as PostgreSQL does: replacing a file costs more than making one
		run get ours $ours archive-get "$s" "$work/get/a"
		run get peer $theirs archive-get "$s" "$work/get/b"
		run info ours $ours info
		run info peer $theirs info
	}
	cmp "$work/get/a" "$f" && cmp "$work/get/b" "$f"
done

if [ "$files" -gt 0 ]; then
	say "$files small files"
	rm -rf "$work"/ours/repo/backup/b/2* "$work"/peer/repo/backup/b/2*
	mkdir "$work/pg/extra"
	perl -e 'my ($dir, $n) = @ARGV; for my $i (1 .. $n) { my $d = sprintf "%s/%03d", $dir, $i % 500; mkdir $d;
		open my $f, ">", "$d/$i" or die; print $f "row $i " x (1 + $i % 400) }' "$work/pg/extra" "$files"
	i=0
	while [ "$i" -lt "$file_runs" ]; do
		say "many files, run $((i + 1)) of $file_runs"
		back_and_forth -files --repo1-bundle
		both info-files info
		i=$((i + 1))
	done
fi

echo "$(versions)," \
	"cluster $(du -sm "$work/pg/base" | cut -f1) MB, zst 3, $workers workers, medians of $runs runs ($segments segments; -files: $files files more in bundles, $file_runs runs)" \
	"same: incr of what is the same; incr: after changes to a thousandth, all over; table: to a hundredth, in one place; expire: all but one chain"
echo
echo "|               | wall, s  | peer     | ratio | CPU, s   | peer     | ratio | MB     | peer   |"
echo "|---------------|----------|----------|-------|----------|----------|-------|--------|--------|"
row full 2
row same 2
row incr 2
row table 2
for name in none lz4 gz bundle; do
	row full-$name 2
done
if [ -e "$work/full-block.ours" ]; then
	row full-block 2
	row incr-block 2
fi
row restore 2
row delta 2
row full-aes 2
row verify 2
row expire 2
row push 3
row get 3
row info 3
if [ "$files" -gt 0 ]; then
	for name in full same incr restore delta info; do
		row $name-files 2
	done
fi
echo
echo "The parts of a full backup by themselves, CPU seconds: reading and SHA-1 $(median <"$work/parts.openssl"), reading and zstd -3 $(median <"$work/parts.zstd")"
