#!/bin/sh
# A repository host against Debian's pgbackrest, both through the same sshd on this machine: ours and theirs in turn, medians; once
# as it is, once with a proxy (delay.pl) that adds a delay each way.
#
#   sh test/bench/hosts.sh [PROGRAM]     default: pgstrata found in PATH
#
# SCALE (pgbench scale; 100 is about 1.5 GB), RUNS (default 3), FILES (small files, default 20000; 0 leaves them out), SEGMENTS
# (default 20), DELAY (ms each way, default 20; 0 leaves it out) and WORKERS (default 2) change it.
# Run as the user that may start PostgreSQL, not as root; it works below ${TMPDIR:-/tmp} and removes what it made.
# CPU is that of the program on both sides and of the ssh that it starts, without sshd.
set -eu

. "$(dirname "$0")/common.sh"
bench=$(cd "$(dirname "$0")" && pwd)
scale=${SCALE:-100} runs=${RUNS:-3} files=${FILES:-20000} segments=${SEGMENTS:-20} delay=${DELAY:-20}
[ -x /usr/sbin/sshd ] || { echo "bench: /usr/sbin/sshd not found (Debian package openssh-server)" >&2; exit 1; }

# --- sshd, the proxy, and an ssh that takes our key ---

free_port() { perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'; }

mkdir "$work/ssh"
for name in host user; do
	ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/$name"
done
cp "$work/ssh/user.pub" "$work/ssh/authorized"
port=$(free_port)
printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $work/ssh/host" "AuthorizedKeysFile $work/ssh/authorized" 'StrictModes no' \
	'UsePAM no' 'PasswordAuthentication no' 'MaxStartups 100' 'PidFile none' >"$work/ssh/config"
/usr/sbin/sshd -D -f "$work/ssh/config" -E "$work/ssh/log" &
helpers=$!
late=$(free_port)
perl "$bench/delay.pl" "$late" "$port" "$delay" &
helpers="$helpers $!"
printf '%s\n' '#!/bin/sh' "exec ssh -F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i $work/ssh/user \"\$@\"" >"$work/ssh/ssh"
chmod 755 "$work/ssh/ssh"
i=0
until "$work/ssh/ssh" -o LogLevel=error -p "$late" 127.0.0.1 true 2>/dev/null; do
	i=$((i + 1))
	[ "$i" -lt 50 ] || { cat "$work/ssh/log" >&2; exit 1; }
	sleep 0.1
done

# What is started over there: the program, and what it cost.
for who in ours peer; do
	[ $who = ours ] && path=$program || path=$peer
	printf '%s\n' '#!/bin/sh' "exec /usr/bin/time -q -a -o $work/there.$who -f '%U %S' $path \"\$@\"" >"$work/$who.there"
	chmod 755 "$work/$who.there"
done

# --- both hosts of both programs: NAME-repo has the repository, NAME-pg the cluster ---

for who in ours peer; do
	for way in plain late; do
		[ $way = plain ] && p=$port || p=$late
		conf $who $way-repo repo "cmd-ssh=$work/ssh/ssh"
		conf $who $way-pg repo "cmd-ssh=$work/ssh/ssh" repo1-host=127.0.0.1 "repo1-host-port=$p" "repo1-host-user=$(id -un)" \
			"repo1-host-cmd=$work/$who.there" "repo1-host-config=$work/$who/$way-repo.conf"
		sed -i '/^repo1-path=/d; /^repo1-retention/d; /^start-fast/d' "$work/$who/$way-pg.conf"
		printf '%s\n' pg1-host=127.0.0.1 "pg1-host-port=$p" "pg1-host-user=$(id -un)" "pg1-host-cmd=$work/$who.there" \
			"pg1-host-config=$work/$who/$way-pg.conf" >>"$work/$who/$way-repo.conf"
		# the hosts are one: each has locks of its own
		sed -i "s|^lock-path=.*|lock-path=$work/$who/lock-pg|" "$work/$who/$way-pg.conf"
		mkdir -p "$work/$who/lock-pg"
	done
done

# at WHO WAY SIDE: the command on that side.
at() {
	[ "$1" = ours ] && path=$program || path=$peer
	echo "$path --config=$work/$1/$2-$3.conf --stanza=b"
}

stanzas=$(at ours plain repo; at peer plain repo)
make_cluster "$scale" "archive_command='$(at ours plain pg) archive-push %p && $(at peer plain pg) archive-push %p'" max_wal_size=8GB wal_keep_size=1GB

# run NAME WHO COMMAND...: one measured run; "wall cpu" is appended to a file.
run() {
	name=$1 who=$2
	shift 2
	sync
	: >"$work/there.$who"
	/usr/bin/time -o "$work/t" -f '%e %U %S' "$@" >/dev/null
	# whoever serves may end a little later
	tries=0
	while pgrep -f "^/usr/bin/time -q -a -o $work/there" >/dev/null && [ "$tries" -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	there=$(awk '{ s += $1 + $2 } END { print s + 0 }' "$work/there.$who")
	tail -n 1 "$work/t" | awk -v there="$there" '{ print $1, $2 + $3 + there }' >>"$work/$name.$who"
}

# both NAME WAY SIDE COMMAND...: by each program; who is first changes with the parity of $turn.
turn=0
both() {
	name=$1 way=$2 side=$3
	shift 3
	[ $((turn % 2)) = 0 ] && order='ours peer' || order='peer ours'
	for who in $order; do
		# shellcheck disable=SC2046
		run "$name" "$who" $(at "$who" "$way" "$side") "$@"
	done
}

# restores NAME WAY: of the newest backup; a restore that does not count goes before (a virtual machine charges the first use of memory).
restores() {
	for who in ours peer; do
		rm -rf "$work/restored"
		mkdir -m 700 "$work/restored"
		# shellcheck disable=SC2046
		run "$1" "$who" $(at "$who" "$2" pg) --pg1-path="$work/restored" --type=none restore
	done
	rm -rf "$work/restored"
}

warm() {
	mkdir -m 700 "$work/restored"
	# shellcheck disable=SC2046
	$(at peer plain pg) --pg1-path="$work/restored" --type=none restore
	rm -rf "$work/restored"
}

# rounds SUFFIX [OPTION]
rounds() {
	suffix=$1
	shift
	i=0
	while [ "$i" -lt "$runs" ]; do
		i=$((i + 1)) turn=$i
		for way in $ways; do
			say "$way$suffix, run $i of $runs"
			both "full$suffix-$way" "$way" repo --type=full "$@" backup
			[ "$i" != 1 ] || warm
			restores "restore$suffix-$way" "$way"
		done
	done
	for who in ours peer; do
		rm -rf "$work/$who/repo/backup/b"/2*
	done
}
ways=plain
[ "$delay" = 0 ] || ways='plain late'
rounds ''

# What no program can be faster than: ssh by itself.
for way in $ways; do
	[ "$way" = plain ] && p=$port || p=$late
	for i in 1 2 3 4 5; do
		/usr/bin/time -o "$work/t" -f '%e' "$work/ssh/ssh" -o LogLevel=error -p "$p" 127.0.0.1 true
		cat "$work/t" >>"$work/ssh-$way"
	done
done

say "push and get of $segments segments of 16 MiB"
mkdir "$work/wal" "$work/get"
for f in "$work"/pg/pg_wal/archive_status/*.done; do
	s=${f##*/} s=${s%.done}
	case $s in *.*) continue ;; esac
	[ "$(ls "$work/wal" | wc -l)" -ge "$segments" ] || [ ! -f "$work/pg/pg_wal/$s" ] || cp "$work/pg/pg_wal/$s" "$work/wal/"
done
for f in "$work"/wal/*; do
	s=${f##*/} turn=$((turn + 1))
	for way in $ways; do
		rm -f "$work"/ours/repo/archive/b/*/*/"$s"-* "$work"/peer/repo/archive/b/*/*/"$s"-* "$work"/get/*
		both "push-$way" "$way" pg archive-push "$f"
		both "get-$way" "$way" pg archive-get "$s" "$work/get/a"
		cmp "$work/get/a" "$f"
	done
done

if [ "$files" -gt 0 ]; then
	say "$files small files"
	mkdir "$work/pg/extra"
	perl -e 'my ($dir, $n) = @ARGV; for my $i (1 .. $n) { my $d = sprintf "%s/%03d", $dir, $i % 500; mkdir $d;
		open my $f, ">", "$d/$i" or die; print $f "row $i " x (1 + $i % 400) }' "$work/pg/extra" "$files"
	# the rows would hide them
	"$bindir/psql" -h "$work" -qc 'TRUNCATE pgbench_accounts' -c checkpoint postgres
	rounds -files --repo1-bundle
fi

# --- the table ---

row() {
	for column in 1 2; do
		for who in ours peer; do
			eval "v_${who}_$column=\$(cut -d' ' -f$column \"$work/$1.$who\" | median)"
		done
	done
	# shellcheck disable=SC2154
	awk -v n="$1" -v a="$v_ours_1" -v b="$v_peer_1" -v c="$v_ours_2" -v d="$v_peer_2" 'BEGIN {
		printf("| %-19s | %8.2f | %8.2f | %5.2f | %8.2f | %8.2f | %5.2f |\n", n, a, b, (b > 0) ? a / b : 0, c, d, (d > 0) ? c / d : 0) }'
}

echo "$(versions), $workers workers, cluster of scale $scale, medians of $runs runs ($segments segments), through sshd on this machine; late:" \
	"$delay ms more each way; -files: $files small files in bundles"
echo "ssh by itself: $(for way in $ways; do printf '%s %s s ' "$way" "$(median <"$work/ssh-$way")"; done)"
echo
echo "|                     | wall, s  | peer     | ratio | CPU, s   | peer     | ratio |"
echo "|---------------------|----------|----------|-------|----------|----------|-------|"
for way in $ways; do
	row full-$way
	row restore-$way
	row push-$way
	row get-$way
	[ "$files" = 0 ] || row full-files-$way
	[ "$files" = 0 ] || row restore-files-$way
done
