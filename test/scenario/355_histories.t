# Random histories of files, without a server: each step grows, shrinks, touches, replaces, deletes or recreates some, sets
# times back or into the future, and is backed up as diff or incr with options that change on the way.  Each step must
# come out as it was, by our restore and by pgbackrest's (if it knows blocks, where there are some).  SEED begins with a
# seed, ROUNDS says how many.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop;
use Test::More;
use Time::HiRes qw(sleep time);

use constant STEPS => 8;

my $first = $ENV{SEED} // int rand 1e9;
my $rounds = $ENV{ROUNDS} // (deep_run() ? 100 : full_run() ? 8 : 2);
my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($data, $to) = map { work_dir() . "/$_" } qw(data restored);
my (%seen, $stanza, $round, $blocks);

sub any { return $_[int rand @_] }
sub chance { return rand() < $_[0] }
sub bytes { my ($n) = @_; my $piece = join '', map { chr rand 256 } 1 .. 500; return substr($piece x ($n / 500 + 1), 0, $n) }

# Around the limits of bundles and of what is kept in memory.
sub size { return any(0, 1, 100, 8191, 8192, 8193, 16384, 65536, 65537, 300000, chance(0.1) ? 5_000_000 : 20000) }

sub fresh {
	remove_tree($data);
	make_path(map { "$data/$_" } qw(global base/1 files/deep pg_xact pg_subtrans));
	cp($pg->data . "/$_", "$data/$_") or die "$_: $!" for qw(PG_VERSION global/pg_control);
	spew("$data/postgresql.auto.conf");
	spew("$data/$_", bytes(size())) for map({ "base/1/$_" } 1 .. 12), map({ "files/$_" } 'a' .. 'h'), 'files/deep/x', 'pg_xact/0000';
	utime time - 3600, time - rand 100000, "$data/$_" for 'base/1/1', 'base/1/2', 'files/a';
	chmod 0700, $data;
}

# What may happen to a file between two backups.
my @changes = (
	[ grow => sub { my ($f) = @_; open(my $o, '>>', $f) or die $!; print $o bytes(1 + rand 20000) } ],
	[ shrink => sub { my ($f) = @_; truncate $f, int((-s $f) * rand) } ],
	[ empty => sub { truncate $_[0], 0 } ],
	[ rewrite => sub { spew($_[0], bytes(-s $_[0])) } ],
	[ poke => sub {
		my ($f) = @_;
		open(my $o, '+<:raw', $f) or die $!;
		seek($o, int rand(-s $f), 0) && print $o bytes(1 + rand 50) or die $! for 1 .. 1 + rand 3;
	} ],
	[ write => sub { spew($_[0], bytes(size())) } ],
	[ touch => sub { utime time, time, $_[0] } ],
	[ back => sub { utime time, (stat $_[0])[9] - 1 - rand 5000, $_[0] } ],
	[ future => sub { utime time, time + 1 + rand 5000, $_[0] } ],
	[ replace => sub { spew("$_[0].new", bytes(size())); rename "$_[0].new", $_[0] } ],
	[ disguise => sub { # other content, but size and time as before
		my ($f) = @_;
		my $time = (stat $f)[9];
		spew($f, bytes(-s $f));
		utime $time, $time, $f;
	} ],
	[ exchange => sub { # a file of the same size and time under this name
		my ($f) = @_;
		my $time = (stat $f)[9];
		spew("$f.new", bytes(-s $f));
		utime $time, $time, "$f.new";
		rename "$f.new", $f;
	} ],
	[ mode => sub { chmod any(0600, 0640, 0644), $_[0] } ],
	[ delete => sub { unlink $_[0] } ],
);

sub files { return grep { !/PG_VERSION|pg_control|auto\.conf/ } grep { -f } glob "$data/{*,*/*,*/*/*}" }

sub change_some {
	for my $f (files()) {
		next if !chance(0.4);
		my ($name, $change) = @{any(@changes)};
		next if !chance(0.3) && $name =~ /back|future/; # both make all files be compared
		$change->($f);
		$seen{$name}++;
	}
	spew("$data/" . any('base/1/', 'files/', 'files/deep/') . int rand 20, bytes(size())) for 1 .. rand 3;
	mkdir "$data/files/new" if chance(0.2);
	rmdir "$data/files/new" if chance(0.2);
}

sub tree_of {
	my ($dir) = @_;
	my $tree = snapshot($dir, ignore => qr{^pg_subtrans/.|^recovery\.signal$|^backup\.manifest$});
	$tree->{$_} .= ' ' . (stat "$dir/$_")[9] for grep { $tree->{$_} =~ /^f/ && $_ ne 'postgresql.auto.conf' } keys %$tree;
	return $tree;
}

sub block_options {
	return ('--repo1-block', '--repo1-block-size-super=' . any(qw(32KiB 64KiB 256KiB)),
		chance(0.5) ? '--repo1-block-size-map=' . any('1B=8KiB', '8KiB=16KiB', '20000=24KiB') : (),
		chance(0.3) ? '--repo1-block-age-map=' . any('0=2', '0=0', '1=3') : (),
		chance(0.3) ? '--repo1-block-checksum-size-map=' . any('8KiB=16', '16KiB=9') : ());
}

sub options {
	my $bundle = chance($blocks ? 0.8 : 0.6);
	return ('--process-max=' . any(1, 2), '--compress-type=' . any(qw(none gz lz4 zst)), chance(0.3) ? '--delta' : '--no-delta',
		$bundle ? ('--repo1-bundle', '--repo1-bundle-limit=' . any('8KiB', '64KiB', '6MiB'), '--repo1-bundle-size=1MiB',
				$blocks && chance(0.9) ? block_options() : ())
			: chance(0.5) ? '--repo1-hardlink' : ());
}

sub back_up {
	my ($step) = @_;
	my @options = ($step == 0 ? '--type=full' : chance(0.3) ? '--type=diff' : '--type=incr', options());
	my ($code, $out, $err) = $stanza->run('backup', '--no-online', "--pg1-path=$data", @options);
	if ($code == 55 && "$out$err" =~ /no files have changed/) { # that can be so, but then it must be true
		$seen{'nothing changed'}++;
		return undef;
	}
	my ($label) = $out =~ /new backup label = (\S+)/;
	ok($code == 0 && $label, "seed $round, step $step: backup @options") or diag($out, $err);
	$seen{$_->[0]} += () = $out =~ /$_->[1]/g for [ references => qr/DETAIL: reference/ ], [ matches => qr/DETAIL: match file/ ],
		[ members => qr/\(bundle \d/ ], [ links => qr/DETAIL: hardlink/ ], [ deltas => qr/enabling delta checksum/ ];
	$seen{maps} += () = slurp($stanza->path("repo/backup/demo/$label/backup.manifest")) =~ /"bim":/g if $label;
	return $label;
}

sub comes_back {
	my ($by, $label, $tree, $name) = @_;
	remove_tree($to);
	mkdir $to, 0700;
	my ($code, $out, $err) = $stanza->using($by)->run('restore', "--pg1-path=$to", "--set=$label", '--type=none');
	if ($code != 0) {
		fail($name);
		diag($out, $err);
		return;
	}
	my $found = tree_of($to);
	# what a restore puts there by itself, and pg_control's time, are no file of ours
	delete $_->{'postgresql.auto.conf'} for $found, my $want = {%$tree};
	same_tree($want, $found, $name);
}

for my $seed ($first .. $first + $rounds - 1) {
	$round = $seed;
	srand $seed;
	$blocks = $seed % 2;
	my $peer = pgbackrest() && (!$blocks || pgbackrest_since('2.46'));
	fresh();
	$stanza = PgStrata::Stanza->new(id => "r$round", name => 'demo', cluster => $pg, options => { global => {
		'repo1-retention-full' => 9, $round - $first > 1 && chance(0.3) ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'secret') : () } });
	$stanza->run_ok('stanza-create', '--no-online', "--pg1-path=$data", { name => "seed $round" });
	my (@history, $before);
	for my $step (0 .. STEPS) {
		change_some() if $step > 0 && chance(0.95);
		my $tree = tree_of($data);
		my $label = back_up($step);
		push @history, [ $label, $tree, $step ] if defined $label;
		same_tree($before, $tree, "seed $round, step $step: nothing has changed indeed") if !defined $label;
		$before = $tree;
		sleep rand 1.2;
	}
	for my $backup (@history) {
		my ($label, $tree, $step) = @$backup;
		comes_back(program(), $label, $tree, "seed $round, step $step: $label comes back");
		comes_back(pgbackrest(), $label, $tree, "seed $round, step $step: $label comes back by pgbackrest")
			if $peer && (full_run() || $step == STEPS);
	}
	if ($peer) {
		my ($code, $out, $err) = $stanza->using(pgbackrest())->run('verify');
		ok($code == 0 && "$out$err" !~ /(missing|checksum invalid|size invalid|other): [1-9]|invalid/, "seed $round: pgbackrest verify")
			or diag($out, $err);
	}
	remove_tree($stanza->path);
}
note join ', ', map { "$_: $seen{$_}" } sort keys %seen;
ok($seen{$_}, "there were $_") for qw(references matches members maps);
done_testing();
