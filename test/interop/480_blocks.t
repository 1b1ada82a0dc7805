# Chains of backups with blocks by both programs, alone and in turns: each backup is restored by both, and both give back
# the very files that were there when it was made.  Side by side, both come to the same decision about each file.
#
# A real data directory whose server is down, as in 470_matrix.t, and files whose story is about blocks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Blocks;
use PgStrata::Interop;
use PgStrata::Stanza;
use Test::More;

need_pgbackrest();
plan(skip_all => 'cannot here: blocks need pgbackrest 2.46 or newer') if !pgbackrest_since('2.46');

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off', 'fsync = off' ]);
my $data = $pg->data;
my ($target, $original) = map { work_dir() . "/$_" } qw(restored original);
my ($clock, $number) = (time - 86_400, 0);

# --- the cluster, and what happens to it ---

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
	rename $data, $original or die "rename: $!";
}

sub begin {
	remove_tree($data);
	system('cp', '-a', $original, $data) == 0 or die "cp: $?";
}

# Times are set, so that nothing depends on how fast the test runs.
sub live {
	my ($step) = @_;
	block_files("$data/extra", $step);
	my ($relation) = sort { -s $b <=> -s $a || $a cmp $b } grep { -s } glob "$data/base/*/[0-9]*";
	flip_bit($relation, 8192 * $step + 77);
	$clock += 100;
	utime $clock, $clock, $relation, glob "$data/extra/*";
	utime $clock, $clock - 9 * 86_400, "$data/extra/touched" if $step == 0;
}

sub stanza_with {
	my (%options) = @_;
	return PgStrata::Stanza->new(cluster => $pg, name => 'demo', id => 'n' . ++$number, options => { global => { 'process-max' => 2,
		'log-level-console' => 'info', 'expire-auto' => 'n', 'repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB',
		'repo1-bundle-size' => '1MiB', 'repo1-block' => 'y', %options } });
}

# --- chains ---

my %makers = (ours => ['ours'], theirs => ['theirs'], 'ours first' => [qw(ours theirs)], 'theirs first' => [qw(theirs ours)]);
my @types = qw(full incr incr diff incr incr);

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

# The last restore stands there: back to the first by blocks, and forth again.
sub delta_all {
	my ($case, $who, $made) = @_;
	for my $turn ([ theirs => 0 ], [ ours => -1 ], [ ours => 0 ], [ theirs => -1 ]) {
		my ($by, $which) = @$turn;
		$who->{$by}->run_ok('restore', '--delta', "--pg1-path=$target", "--set=$made->[$which]{label}", '--type=none',
			{ name => "$case: delta by $by" });
		same_tree($made->[$which]{tree}, restored_tree($target), "$case: $made->[$which]{label} comes back");
	}
}

sub try_chain {
	my ($makers, $codec, $encrypted) = @_;
	my $case = join ', ', $makers, $codec, $encrypted ? 'encrypted' : 'plain';
	my $ours = stanza_with('compress-type' => $codec, $number % 2 ? ('repo1-block-size-map' => [ '4KiB=8KiB', '1MiB=16KiB' ]) : (),
		$encrypted ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'pass # word') : ());
	my %who = (ours => $ours, theirs => $ours->using(pgbackrest()));
	my @turns = @{ $makers{$makers} };
	my @made;
	begin();
	$who{ $turns[0] }->run_ok('stanza-create', '--no-online', { name => "$case: stanza-create" });
	for my $step (0 .. $#types) {
		live($step);
		my $label = backup_by($who{ $turns[ $step % @turns ] }, '--no-online', "--type=$types[$step]", $step == 2 ? '--delta' : ());
		push @made, { label => $label, tree => restored_tree($data) };
	}
	restore_all($case, \%who, \@made);
	delta_all($case, \%who, \@made);
	same_info($ours, $who{theirs}, $case);
	$who{theirs}->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => "$case: valid for pgbackrest", like => qr/^status: ok$/m, unlike => qr/ERROR|status: invalid/ });
	$ours->run_ok('verify', { name => "$case: valid for pgstrata" });
	remove_tree($ours->path);
}

# --- side by side ---

# What both must agree on.  Where bytes lie may differ (before 2.60 it was the size in the prior that decided about
# bundling); ours stores pg_control whole, whatever the tables say, and a file without content where the prior lists
# one in bundles and has stored nothing.
sub decisions {
	my ($rows) = @_;
	return { map {
		my ($name, $row) = ($_, $rows->{$_});
		$name => $row->{size} == 0 ? 'empty' : join ' ', map({ "$_=" . ($row->{$_} // '-') } qw(size checksum bi bic)),
			$row->{bim} ? 'map' : '-', $row->{rck} ? 'rck' : '-', $row->{reference} ? 'refers' : '-';
	} grep { !/pg_control$/ } keys %$rows };
}

sub side_by_side {
	my ($name, $common, @steps) = @_;
	my $ours = stanza_with(%$common);
	my $theirs = stanza_with(%$common)->using(pgbackrest());
	begin();
	$_->run_ok('stanza-create', '--no-online') for $ours, $theirs;
	my %bundled;
	for my $step (0 .. $#steps) {
		live($step);
		my ($we, $they) = map { manifest_rows($_, backup_by($_, '--no-online', @{ $steps[$step] })) } $ours, $theirs;
		is_deeply(decisions($we), decisions($they), "$name, step $step (@{ $steps[$step] }): the same decisions");
		next if $common->{'compress-type'} ne 'none';
		# a map tells places in bundles, and what codecs make of a block is a matter of taste
		$bundled{$_} ||= defined $we->{$_}{bni} || defined $they->{$_}{bni} for keys %$we;
		my @larger = grep { !$bundled{$_} && ($we->{$_}{bim} // 0) != ($they->{$_}{bim} // 0) } sort keys %$we;
		is("@larger", '', "$name, step $step: files of their own have the same maps");
	}
	remove_tree($_->path) for $ours, $theirs;
}

prepare();
side_by_side('built-in tables', { 'compress-type' => 'none' }, [ '--type=full' ], map({ [ "--type=$_" ] } qw(incr incr diff incr incr)));
side_by_side('options change', { 'compress-type' => 'zst', 'repo1-block-size-map' => [ '8KiB=8KiB', '1MiB=16KiB', '2MiB=24KiB' ] },
	[ '--type=full' ], [ '--type=incr', '--no-repo1-block' ], [ '--type=incr' ], [ '--type=incr', '--no-repo1-bundle' ],
	[ '--type=incr', '--repo1-block-size-map=16KiB=40KiB', '--repo1-block-checksum-size-map=8KiB=12' ],
	[ '--type=diff', '--repo1-block-age-map=1=0' ]);

my @codecs = codecs();
my $turn = 0;
for my $makers (full_run() ? (sort keys %makers) x 3 : ('ours', 'ours first', 'theirs first')) {
	try_chain($makers, $codecs[ $turn % @codecs ], $turn % 2);
	$turn++;
}
done_testing();
