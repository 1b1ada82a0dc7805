# Chains of backups in every form that a repository can take, by both programs, alone and in turns: each backup is restored
# by both, and both give back the very files that were there when it was made.
#
# A real data directory whose server is down, and few enough files that hundreds of restores are a matter of seconds:
# what the server adds has tests of its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Interop;
use PgStrata::Stanza;
use Test::More;

need_pgbackrest();

my @kinds = ([ full => 'full' ], [ diff => 'full', 'diff' ], [ five => 'full', 'incr', 'diff', 'incr', 'incr' ]);
my %storage = (
	files => {},
	bundle => { 'repo1-bundle' => 'y', 'repo1-bundle-limit' => '16KiB', 'repo1-bundle-size' => '1MiB' },
	hardlink => { 'repo1-hardlink' => 'y' },
);
# The files here are old on purpose, too old for blocks by the built-in table of ages.
$storage{block} = { %{ $storage{bundle} }, 'repo1-bundle-limit' => '64KiB', 'repo1-block' => 'y', 'repo1-block-age-map' => '40000=0',
	'repo1-block-size-super' => '32KiB' } if pgbackrest_since('2.46');
my %cipher = (plain => {}, encrypted => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'pass # word' });
my %makers = (ours => ['ours'], 'ours first' => [qw(ours theirs)], 'theirs first' => [qw(theirs ours)]);

# --- which cases ---

my @factors = ([ map { $_->[0] } @kinds ], [ sort keys %storage ], [ codecs() ], [ sort keys %cipher ], [ sort keys %makers ]);

sub product {
	my ($first, @rest) = @_;
	return [] if !$first;
	my @tails = product(@rest);
	return map { my $value = $_; map { [ $value, @$_ ] } @tails } @$first;
}

# Every value of a factor meets every value of every other one in some case: the case that makes the most new pairs
# comes next.
sub pairwise {
	my @all = product(@_);
	my (%met, @chosen);
	my $pairs = sub {
		my ($case) = @_;
		return map { my $i = $_; map { "$i=$case->[$i] $_=$case->[$_]" } 0 .. $i - 1 } 1 .. $#$case;
	};
	while (1) {
		my ($best, $most) = (undef, 0);
		for my $case (@all) {
			my $new = grep { !$met{$_} } $pairs->($case);
			($best, $most) = ($case, $new) if $new > $most;
		}
		return @chosen if !$best;
		$met{$_} = 1 for $pairs->($best);
		push @chosen, $best;
	}
}

# The longest chain in all that can be stored; who makes it takes turns.
sub full_matrix {
	my @who = @{ $factors[-1] };
	my $turn = 0;
	return map { [ @$_, $who[ $turn++ % @who ] ] } product([ $kinds[-1][0] ], @factors[ 1 .. $#factors - 1 ]);
}

# --- the cluster, and what happens to it ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off', 'fsync = off' ]);
my $data = $pg->data;

sub prepare {
	$pg->start;
	drop_templates($pg);
	$pg->psql('CREATE TABLE t AS SELECT id, md5(id::text) FROM generate_series(1, 3000) AS id');
	$pg->stop;
	my @relations = sort { -s $b <=> -s $a || $a cmp $b } glob "$data/base/*/[0-9]*";
	unlink @relations[ 6 .. $#relations ], glob("$data/base/*/pg_internal.init"), "$data/global/pg_internal.init",
		"$data/postmaster.opts", glob("$data/pg_subtrans/*"), glob("$data/pg_stat_tmp/*"), glob("$data/pg_notify/*");
	my @wal = sort glob "$data/pg_wal/0*";
	unlink @wal[ 1 .. $#wal ];
	mkdir "$data/extra";
	spew("$data/extra/grows", 'g' x 9000);
	spew("$data/extra/shrinks", 's' x 40_000);
	spew("$data/extra/stays", join '', 1 .. 8000);
	spew("$data/extra/touched", 't' x 5000);
	spew("$data/extra/goes", 'gone');
	spew("$data/extra/empty", '');
	spew("$data/extra/fills", '');
	spew("$data/extra/empties", 'e' x 300);
	utime 1_000_000_000, 1_000_000_000, glob "$data/extra/*";
}

my $clock = 1_100_000_000;

# What lies between two backups; times are set, so that nothing depends on how fast the test runs.
sub change {
	my ($step) = @_;
	spew("$data/extra/grows", 'g' x (9000 + 8192 * $step));
	truncate_file("$data/extra/shrinks", 40_000 - 9000 * $step);
	spew("$data/extra/same size", sprintf '%04d' x 700, ($step) x 700);
	spew("$data/extra/new $step", "new in step $step\n" x (1 + 600 * $step));
	unlink $step == 1 ? "$data/extra/goes" : "$data/extra/new " . ($step - 2);
	spew("$data/extra/fills", 'f' x $step);
	spew("$data/extra/empties", $step % 2 ? '' : 'again');
	$clock += 100;
	utime $clock, $clock, grep { !m{/(stays|empty)$} } glob "$data/extra/*";
	my ($relation) = sort { -s $a <=> -s $b || $a cmp $b } grep { -s } glob "$data/base/*/[0-9]*";
	flip_bit($relation, 77 + $step);
	utime $clock, $clock, $relation;
}

# --- one case ---

my $target = work_dir() . '/restored';
my $original = work_dir() . '/original';
my $number = 0;

# Both programs restore each backup of the chain: exactly what was there.
sub restore_all {
	my ($case, $who, $made) = @_;
	my @wrong;
	for my $backup (@$made) {
		for my $by (sort keys %$who) {
			remove_tree($target);
			mkdir $target, 0700 or die "mkdir $target: $!";
			my ($code, $out, $err) = $who->{$by}->run('restore', "--pg1-path=$target", "--set=$backup->{label}", '--type=none');
			my @differ = $code ? ("exit $code\n$out$err") : tree_diff($backup->{tree}, restored_tree($target));
			push @wrong, "$backup->{label} by $by: @differ[0 .. ($#differ > 3 ? 3 : $#differ)]" if @differ;
		}
	}
	ok(!@wrong, "$case: both restore every backup") or diag(join "\n", @wrong);
}

sub try_case {
	my ($kind, $storage, $codec, $cipher, $makers) = @_;
	my $case = join ', ', $kind, $storage, $codec, $cipher, $makers;
	my ($types) = map { [ @$_[ 1 .. $#$_ ] ] } grep { $_->[0] eq $kind } @kinds;
	my $ours = PgStrata::Stanza->new(cluster => $pg, id => ++$number, options => { global => {
		'compress-type' => $codec, 'process-max' => 2, 'log-level-console' => 'info', 'expire-auto' => 'n',
		%{ $storage{$storage} }, %{ $cipher{$cipher} } } });
	my %who = (ours => $ours, theirs => $ours->using(pgbackrest()));
	my @turns = @{ $makers{$makers} };
	my @made;
	remove_tree($data);
	system('cp', '-a', $original, $data) == 0 or die "cp: $?";
	$who{ $turns[0] }->run_ok('stanza-create', '--no-online', { name => "$case: stanza-create" });
	for my $i (0 .. $#$types) {
		change($i) if $i;
		my $by = $turns[ $i % @turns ];
		my $label = backup_by($who{$by}, '--no-online', "--type=$types->[$i]");
		push @made, { label => $label, tree => restored_tree($data) };
	}
	like($made[-1]{label}, qr/^\d{8}-\d{6}F_.*[DI]$/, "$case: it is a chain") if @made > 1;
	restore_all($case, \%who, \@made);
	$who{theirs}->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => "$case: valid for pgbackrest", like => qr/^status: ok$/m, unlike => qr/ERROR|status: invalid/ });
	$ours->run_ok('verify', { name => "$case: valid for pgstrata" });
	remove_tree($ours->path);
}

prepare();
rename $data, $original or die "rename: $!";
my @cases = (pairwise(@factors), full_run() ? full_matrix() : ());
try_case(@$_) for @cases;
note(scalar(@cases), ' cases');

done_testing();
