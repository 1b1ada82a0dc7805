# Notes of dropped WAL and kept history files come into the archive of the cluster that they are of: after
# stanza-upgrade those of the former cluster go to its archive, not to the new one, where they would name segments that
# are still to come.  Of a cluster that no repository knows nobody needs any.  A damaged note, one of another cluster
# and two carriers at once do not stop archiving; a kept file with another content in the archive does, and says how to
# go on.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my @clusters = map { PgStrata::Cluster->new(name => $_, wal_segsize => 1) } qw(old new other);
my $stanza = PgStrata::Stanza->new(cluster => $clusters[0], options => { global => { 'log-level-file' => 'off' } });
my $gap = $stanza->path('spool', 'pgstrata', 'demo', 'gap');
my $repo = $stanza->path('repo');
my $repo2 = $stanza->path('repo2');
mkdir $repo2;
$stanza->set(global => { 'repo2-path' => $repo2 });

sub use_cluster { $stanza->set(demo => { 'pg1-path' => $clusters[ $_[0] ]->data }) }
sub system_id { return ($clusters[ $_[0] ]->must('pg_controldata', '-D', $clusters[ $_[0] ]->data) =~ /system identifier: +(\d+)/)[0] }
sub segment { return (glob $clusters[ $_[0] ]->data . '/pg_wal/' . '?' x 24)[0] }
sub waits { return map { substr($_, length $gap) } glob("$gap/*.json"), glob("$gap/*/*.history") }
sub archive { return glob "$_[0]/archive/demo/*-$_[1]" }
sub notes { return glob join ' ', map { "$_/pgstrata/gap/*.json" } archive(@_) }

# A segment and a history file of a cluster are given up.
sub drop {
	my ($cluster, $history) = @_;
	my $dir = $clusters[$cluster]->data . '/pg_wal';
	my $name = '0000000200000000000000AA';
	cp(segment($cluster), "$dir/$name") or die "cp: $!";
	spew("$dir/00000002.history", $history);
	spew("$dir/archive_status/$_.ready") for $name, '00000002.history';
	use_cluster($cluster);
	$stanza->run_ok('archive-push', '--archive-push-queue-max=0', "$dir/$_", { name => "drop $_ of cluster $cluster" })
		for '00000002.history', $name;
	unlink glob("$dir/archive_status/*"), "$dir/$name", "$dir/00000002.history";
	return $name;
}

my $history = "1\t0/5000000\tno recovery target specified\n";
$stanza->run_ok('stanza-create', '--no-online');
my $dropped = drop(0, $history);
is(scalar(() = waits()), 2, 'the spool has a note and a file') or diag(waits());
is_deeply([ glob "$repo/archive/demo/*/pgstrata" ], [], 'the repository knows nothing yet');

# --- upgrade in between ---

use_cluster(1);
$stanza->run_ok('stanza-upgrade', '--no-online');
$stanza->run_ok('archive-push', segment(1), { name => 'a push of the new cluster' });
is_deeply([ waits() ], [], 'carries all');
for my $at ($repo, $repo2) {
	is(scalar(() = notes($at, 1)), 1, 'the note is in the archive of the former cluster');
	is(scalar(() = notes($at, 2)), 0, 'and not in that of the new one');
	is_deeply([ map { slurp("$_/00000002.history") } archive($at, 1) ], [$history], 'the kept file too');
	ok(!-e (archive($at, 2))[0] . '/00000002.history', 'only there');
}

# --- a cluster that nobody knows ---

drop(2, $history);
use_cluster(1);
$stanza->run_ok('archive-push', segment(1), { like => qr/WARN: the note of dropped WAL '\S+' is of a cluster that the stanza does not know any more/,
	name => 'a cluster that no repository knows' });
is_deeply([ waits() ], [], 'nothing is left of it');
is(scalar(() = map { notes($_, '*') } $repo, $repo2), 2, 'and nothing comes into any archive');

# --- one repository away ---

$dropped = drop(1, $history);
use_cluster(1);
rename $repo2, "$repo2.away" or die "rename: $!";
my $push = sub { $stanza->run_fail('archive-push', segment(1), { code => 104, like => qr/repo2: /, name => "one repository away, $_[0]" }) };
$push->($_) for 1, 2;
is(scalar(() = waits()), 2, 'the spool keeps what one repository has not');
rename "$repo2.away", $repo2 or die "rename: $!";

# --- many carriers at once ---

my @all = map { spawn_command([ $stanza->command('archive-push', segment(1)) ]) } 1 .. 6;
is_deeply([ map { (reap($_))[0] } @all ], [ (0) x 6 ], 'six carriers at once succeed') or diag(map { $_->{output} } @all);
is_deeply([ waits() ], [], 'and carry all');
is(scalar(() = notes($_, 2)), 1, 'once') for $repo, $repo2;

# --- another content ---

drop(1, "1\t0/6000000\tanother promotion\n");
use_cluster(1);
$stanza->run_fail('archive-push', segment(1), { code => 45,
	like => qr/already exists in the repo1 archive with a different checksum\n.*HINT: it was kept as '\Q$gap\E\S+00000002.history'/s });
is_deeply([ map { slurp("$_/00000002.history") } archive($repo, 2) ], [$history], 'the first one stays');
my ($kept) = glob "$gap/*/00000002.history";
unlink $kept or die "unlink: $!";
$stanza->run_ok('archive-push', segment(1), { name => 'and once it is removed archiving goes on' });

# --- a note that cannot be read ---

spew("$gap/20261120T210012Z-1f2e3d4c.json", 'x');
chmod 0, "$gap/20261120T210012Z-1f2e3d4c.json";
$stanza->run_fail('archive-push', segment(1), { code => 41, like => qr/1f2e3d4c\.json.*Permission denied\n +HINT: WAL was dropped/s });
chmod 0600, "$gap/20261120T210012Z-1f2e3d4c.json";
$stanza->run_ok('archive-push', segment(1), { like => qr/WARN: .*1f2e3d4c\.json.* it goes to the repositories as it is/ });
is_deeply([ waits() ], [], 'a damaged one goes as it is');

done_testing();
