# Promise P2 across timelines: recovery follows to the newest timeline, needs each segment of the line of descent, and
# is stopped by a hole in it, wherever the hole is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4' } });
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full');
write_rows($pg, 30);
my $first_end = $pg->psql('SELECT pg_walfile_name(pg_current_wal_lsn())');
$pg->psql("SELECT pg_create_restore_point('fork')");
my $fork = row_state($pg);

# The first line goes on after the point where the second will leave it.
write_rows($pg, 20);
my $first = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'the first timeline is archived');
$pg->stop;

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
my $get = PgStrata::Stanza->new(cluster => $restored, id => 'r',
	options => { global => { 'repo1-path' => $stanza->path('repo'), 'archive-timeout' => '100ms' } });

sub restore {
	my (@options) = @_;
	$restored->stop('immediate') if -e $restored->data && $restored->running;
	$restored->remove_data;
	mkdir $restored->data, 0700 or die "mkdir: $!";
	$get->run_ok('restore', @options);
}

restore('--type=name', '--target=fork', '--target-action=promote');
(my $push = $get->archive_command) =~ s/'/''/g;
$restored->conf_add('archive_mode = on', "archive_command = '$push'");
recovers_whole($restored, $fork, 'a restore to a point in the past');
write_rows($restored, 30);
my $second = row_state($restored);
ok($restored->wait_archived($restored->switch_wal), 'the second timeline is archived');
isnt($second, $first, 'the two lines have different rows');

my @all = wal_names($stanza);
my ($child) = grep { /^00000002/ } @all;
my $parent = '00000001' . substr($child, 8);
is($parent, $first_end, 'the child begins in the segment of the fork');
ok((grep { $_ eq $parent } @all), 'the parent has the same segment, with another content');
my ($before) = reverse grep { $_ lt $parent } @all;
my @child = grep { /^00000002/ } @all;

# The newest timeline is followed; the first one is still there for who asks for it.
restore('--archive-mode=off');
recovers_whole($restored, $second, 'a restore to the latest timeline');
is($restored->psql('SELECT timeline_id FROM pg_control_checkpoint()') , 3, 'and is promoted to the next one');
restore('--archive-mode=off', '--target-timeline=current');
recovers_whole($restored, $first, 'a restore along the first timeline');

# without(NAME, SEGMENT...): a recovery for which these are missing stops; when they are back it is whole.
sub without {
	my ($name, @missing) = @_;
	my %away = map { $_ => work_dir() . '/' . s{.*/}{}r } map { stored_wal($stanza, $_) } @missing;
	restore('--archive-mode=off');
	rename $_, $away{$_} or die "rename $_: $!" for keys %away;
	stops_in_recovery($restored, $name);
	rename $away{$_}, $_ or die "rename $_: $!" for keys %away;
	recovers_whole($restored, $second, $name);
}

without('the parent before the fork', $before);
without('the first of the child, while the parent has it', $child);
without('all of the child but its history, while the parent has its first', @child);
without('the segment of the fork on both timelines', $child, $parent);
without('the middle of the child', $child[@child / 2]);

my ($history) = stored_wal($stanza, '00000002.history');
my $content = slurp($history);
for my $wrong ('', "nonsense\n", substr($content, 0, 5)) {
	restore('--archive-mode=off');
	spew($history, $wrong);
	stops_in_recovery($restored, 'a damaged history file of ' . length($wrong) . ' bytes');
	spew($history, $content);
	recovers_whole($restored, $second, 'a damaged history file');
	last unless full_run();
}

done_testing();
