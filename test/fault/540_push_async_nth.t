# The n-th system call of archive-push with archive-async fails, or the process is killed there, in the foreground, in
# the background or in one of its workers: exit 0 means that both repositories have the segment already, whole, and the
# same command run again finishes (points 1 and 3 of issue 6; promises P1, P5, P6, P7, P9).
use strict;
use warnings;
use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my $pg = PgStrata::Cluster->new(name => 'a b', wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off',
	'archive-async' => 'y', 'archive-timeout' => '10s', 'process-max' => 2, 'compress-type' => 'none' } });
my @repos = ($stanza->path('repo'), $stanza->path('repo2'));
mkdir $repos[1];
$stanza->set(global => { 'repo2-path' => $repos[1] });
faults_for($stanza);

my $wal = $pg->data . '/pg_wal';
my ($name) = map { m{/([0-9A-F]{24})$} } glob "\"$wal/*\"";
my $content = slurp("$wal/$name");
my $out = $stanza->path('spool', 'archive', 'demo', 'out');
$stanza->run_ok('stanza-create', '--no-online');
spew("$wal/archive_status/$name.ready");

# Nobody is at work any more: the lock is free.
sub idle {
	for my $key (1, 2) {
		open(my $lock, '<', $stanza->path('lock', "demo-archive-$key.lock")) or next;
		return 0 if !flock $lock, LOCK_EX | LOCK_NB;
	}
	return 1;
}

sub stored { return grep { !/\.tmp$/ } glob "$_[0]/archive/demo/*/????????????????/$name-*" }

sub not_stored {
	return map {
		my @files = stored($_);
		@files == 1 && slurp($files[0]) eq $content ? () : "$_ has " . @files . ' of it, or not whole'
	} @repos;
}

sweep('push', [ 'archive-push', "$wal/$name" ], 60,
	prepare => sub {
		wait_until(\&idle, 30) or die 'the background does not end';
		unlink glob("$out/*"), map { stored($_) } @repos;
	},
	check => sub {
		my ($code) = @_;
		my @wrong = $code == 0 ? not_stored() : ();
		push @wrong, 'the background does not end' if !wait_until(\&idle, 30);
		push @wrong, run_again('archive-push', "$wal/$name");
		push @wrong, map { "again: $_" } not_stored();
		push @wrong, 'the background does not end again' if !wait_until(\&idle, 30);
		return @wrong;
	});

done_testing();
