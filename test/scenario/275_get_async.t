# Asynchronous archive-get on live servers: a recovery over many segments and a change of timeline ends with the same
# rows as without it, takes nearly all of them from the queue, and believes nothing of what an earlier restore left
# there.  A spool on another file system serves too; one that cannot be used is a warning and nothing else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4' } });
$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full');
write_segments($pg, 16);
$pg->psql("SELECT pg_create_restore_point('fork')");
my $fork = row_state($pg);
write_segments($pg, 4);
my $first = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'the first timeline is archived');
$pg->stop;

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
my $get = PgStrata::Stanza->new(cluster => $restored, id => 'r', options => { global => {
	'repo1-path' => $stanza->path('repo'), 'archive-async' => 'y', 'process-max' => 2, 'archive-timeout' => '100ms' } });
my $queue = $get->path('spool', 'archive', 'demo', 'in');

sub restore {
	my (@options) = @_;
	$restored->stop('immediate') if -e $restored->data && $restored->running;
	$restored->remove_data;
	mkdir $restored->data, 0700 or die "mkdir: $!";
	$get->run_ok('restore', @options);
}

# What archive-get said in a server's log: (segments from the queue, segments from the archive).
sub sources {
	my ($log) = @_;
	return (scalar(() = $log =~ /found \w{24} in the archive asynchronously/g),
		scalar(() = $log =~ /found \w{24} in the repo1: /g));
}

restore('--type=name', '--target=fork', '--target-action=promote');
(my $push = $get->archive_command('--no-archive-async')) =~ s/'/''/g;
$restored->conf_add('archive_mode = on', "archive_command = '$push'");
my ($ahead, $itself) = sources(recovers_whole($restored, $fork, 'to a point in the past'));
cmp_ok($ahead, '>', $itself, "most segments come from the queue: $ahead, $itself not");
write_segments($restored, 16);
my $second = row_state($restored);
ok($restored->wait_archived($restored->switch_wal), 'the second timeline is archived');

# The queue of the first recovery, and of each that follows, holds segments of the timeline that was left.
sub queued {
	opendir(my $dir, $queue) or return ();
	return grep { /\w/ } readdir $dir;
}
ok(scalar(queued()), 'a recovery leaves a queue behind');
restore('--archive-mode=off');
is_deeply([ queued() ], [], 'restore removes it');
my $log = recovers_whole($restored, $second, 'along the second timeline');
($ahead, $itself) = sources($log);
cmp_ok($ahead, '>', $itself, "most segments come from the queue: $ahead, $itself not");
like($log, qr/unable to find \w{24} in the archive/, 'the end of the archive ends the recovery');
is($restored->psql('SELECT timeline_id FROM pg_control_checkpoint()'), 3, 'and the server is promoted');
restore('--archive-mode=off', '--target-timeline=current');
recovers_whole($restored, $first, 'along the first timeline');

# A small queue, and one process.
$get->set(global => { 'archive-get-queue-max' => '0B', 'process-max' => undef });
restore('--archive-mode=off');
recovers_whole($restored, $second, 'with a queue of the least size');

SKIP: {
	skip 'cannot here: no second file system', 4 if !-w '/dev/shm' || (stat '/dev/shm')[0] == (stat work_dir())[0];
	my $other = "/dev/shm/pgstrata test.$$";
	mkdir $other or die "mkdir: $!";
	PgStrata::at_end(sub { remove_tree($other) });
	$get->set(global => { 'spool-path' => $other, 'archive-get-queue-max' => '8MB' });
	restore('--archive-mode=off');
	$log = recovers_whole($restored, $second, 'with the spool on another file system');
	($ahead, $itself) = sources($log);
	cmp_ok($ahead, '>', $itself, "most segments come from the queue: $ahead, $itself not");
	unlike($log, qr/WARN/, 'and without a warning');
}

# Nothing to write to, and nothing to lock: each get says so and fetches by itself.
my $file = work_dir() . '/a file';
spew($file);
for my $wrong (full_run() ? [ 'spool-path' => "$file/spool" ] : (), [ 'lock-path' => "$file/lock" ]) {
	my ($option, $path) = @$wrong;
	restore('--archive-mode=off');
	my $right = $get->{sections}{global}{$option};
	$get->set(global => { $option => $path });
	$log = recovers_whole($restored, $second, "$option that cannot be used");
	($ahead, $itself) = sources($log);
	is($ahead, 0, 'nothing comes from a queue');
	like($log, qr/WARN: WAL is not fetched ahead: \[\w+\] .*a file/, 'and the log says why');
	$get->set(global => { $option => $right });
}

done_testing();
