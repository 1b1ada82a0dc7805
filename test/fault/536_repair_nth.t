# The n-th system call of verify --repair fails, for every n: what it leaves of a damaged segment is the old file or the
# new one under the one name, of a missing segment nothing or the new file, both proven; nothing else changes, nothing is
# left behind, and the same command run again finishes (promises P4, P6, P7, P9).
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($one, $two, $saved) = map { work_dir() . "/$_" } 'repo one', 'repo two', 'saved';
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off', 'repo1-path' => $one,
	'repo2-path' => $two, 'compress-type' => 'gz', 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'open sesame' } });
faults_for($stanza);

$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
my @names = map { $pg->psql("CREATE TABLE t$_ (n int)"); $pg->switch_wal } 1 .. 4;
ok($pg->wait_archived($names[-1]), 'all is archived');
$pg->stop;
my $folder = "$one/archive/demo/" . $pg->version . '-1/' . substr $names[0], 0, 16;
my %file = map { my $name = $_; ($name => [ glob "'$folder/$name-*'" ]->[0]) } @names;
utime time - 3600, time - 3600, values %file; # nothing is in flight
run_command([ 'cp', '-a', $one, $saved ]);
my %right = %{snapshot($one, ignore => qr/lock/)};
my $other = snapshot($two);

sub prepare {
	my ($damage) = @_;
	remove_tree($one);
	run_command([ 'cp', '-a', $saved, $one ]);
	$damage->();
}

my @repair = qw(verify --repair --repo=1);
# in gzip's checksum: a flip elsewhere may mean the same bytes
for my $case ([ 'damaged', 40, sub { flip_bit($file{ $names[1] }, -6, 1) } ], [ 'missing', 30, sub { unlink $file{ $names[1] } } ]) {
	my ($name, $limit, $damage) = @$case;
	prepare($damage);
	my $wrong = snapshot($one);
	sweep("repair of a $name segment", \@repair, $limit, prepare => sub { prepare($damage) }, check => sub {
		my ($code, $action) = @_;
		my $is = snapshot($one);
		my @wrong = $action eq 'kill' ? () : map { "left behind: $_" } grep { /\.tmp$/ } keys %$is;
		delete @$is{ grep { /\.tmp$/ } keys %$is };
		my @to_right = tree_diff(\%right, $is);
		push @wrong, "success, but $to_right[0]" if $code == 0 && @to_right;
		push @wrong, "neither old nor new: $to_right[0]" if @to_right && tree_diff($wrong, $is);
		push @wrong, run_again(@repair);
		$is = snapshot($one);
		delete @$is{ grep { /\.tmp$/ } keys %$is };
		push @wrong, map { "again: $_" } tree_diff(\%right, $is);
		return (@wrong, map { "repo2: $_" } tree_diff($other, snapshot($two)));
	});
}

done_testing();
