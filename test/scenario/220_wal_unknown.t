# Promise P2 on live servers: whatever keeps archive-get from looking, or ends it, PostgreSQL stops and is not promoted;
# when the cause is gone the same start recovers everything.  Only the true end of the archive ends a recovery.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1,
	conf => ['autovacuum = off', "wal_retrieve_retry_interval = '200ms'"]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst' } });
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full');
write_rows($pg, 50);
my $state = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'all rows are archived');
$pg->stop;
my @segments = wal_names($stanza);
cmp_ok(scalar @segments, '>', 5, 'over many segments: ' . @segments);
my $middle = $segments[@segments / 2];

# The restored cluster calls the program through a wrapper: it logs the requests, and runs what stands in a file
# before the request for a certain segment.
my $dir = work_dir();
my ($wrapper, $hook, $requests, $template) = map { "$dir/$_" } qw(get.sh hook requests template);
spew($wrapper, <<"END");
#!/bin/sh
program='${\ program()}'
for word; do
	case \$word in
	archive-get) next=yes ;;
	*) [ -n "\$next" ] && segment=\$word && break ;;
	esac
done
echo "\$segment" >>'$requests'
[ "\$segment" != '$middle' ] || [ ! -e '$hook' ] || . '$hook'
exec "\$program" "\$@"
END
chmod 0755, $wrapper;
spew($requests, '');

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
my $get = PgStrata::Stanza->new(cluster => $restored, id => 'r',
	options => { global => { 'repo1-path' => $stanza->path('repo'), 'archive-timeout' => '100ms' } });

sub lose {
	$restored->stop('immediate') if -e $restored->data && $restored->running;
	$restored->remove_data;
}

sub restore {
	my (@options) = @_;
	lose();
	mkdir $restored->data, 0700 or die "mkdir: $!";
	return $get->run_ok('restore', "--cmd=$wrapper", @options);
}

# A fresh restored cluster, from the template.
sub fresh {
	lose();
	copy_tree($template, $restored->data);
}

restore('--archive-mode=off');
rename $restored->data, $template or die "rename: $!";

# The end of the archive, where a recovery may end.
fresh();
my $log = recovers_whole($restored, $state, 'nothing is wrong');
like($log, qr/unable to find \w{24} in the archive/, 'archive-get says that there is no more');

my $archive = $stanza->path('repo', 'archive', 'demo');
my $repo = $stanza->path('repo');
my ($conf, $empty) = ($get->config_file, "$dir/empty");
my $right = slurp($conf);
mkdir $empty;

# A kill is only a test if the file has not been delivered before it.
my $or_die = 'code=$?; [ $code != 0 ] || kill -KILL $$; exit $code';
my ($file) = stored_wal($stanza, $middle);

# What the shell does before the request for the middle segment; what undoes it before the second start (the
# configuration is always put right).
my %cause = (
	'unknown option value' => [ "echo 'archive-gap=perhaps' >>'$conf'" ],
	'malformed configuration' => [ "echo '[global' >'$conf'" ],
	'configuration without the stanza' => [ "echo '[global]' >'$conf'" ],
	'missing configuration' => [ "rm '$conf'" ],
	'unreadable configuration' => [ "chmod 0 '$conf'" ],
	'repository path absent' => [ "sed -i 's,^repo1-path.*,repo1-path=/nonexistent,' '$conf'" ],
	'repository path empty' => [ "sed -i 's,^repo1-path.*,repo1-path=$empty,' '$conf'" ],
	'repository path wrong in its form' => [ "sed -i 's,^repo1-path.*,repo1-path=relative,' '$conf'" ],
	'unreadable archive folder' => [ "chmod 0 '$archive'", sub { chmod 0750, $archive } ],
	'unreadable folder of segments' => [ "chmod 0 '$archive'/*/*", sub { chmod 0750, glob "$archive/*/*" } ],
	'archive.info gone' => [ "mv '$archive' '$dir/away' && mkdir '$archive'",
		sub { rmdir $archive; rename "$dir/away", $archive or die "rename: $!" } ],
	'repository not mounted' => [ "mv '$repo' '$dir/away'; mkdir '$repo'",
		sub { rmdir $repo; rename "$dir/away", $repo or die "rename: $!" } ],
	'program missing' => [ 'exec /nonexistent/pgstrata' ],
	'wrong command line' => [ 'set -- --no-such-option "$@"' ],
	'killed before its start' => [ 'kill -KILL $$' ],
	'killed at its start' => [ "\"\$program\" \"\$@\" & kill -KILL \$!; wait \$!; $or_die" ],
	'killed at work' => [ "\"\$program\" \"\$@\" & sleep 0.02; kill -KILL \$!; wait \$!; $or_die" ],
	'killed before the file has its name' => [ "PGSTRATA_FAULT=rename:1:kill \"\$program\" \"\$@\"; $or_die" ],
	'no room for the segment' => [ "PGSTRATA_FAULT=write:1:ENOSPC \"\$program\" \"\$@\"; $or_die" ],
	map {
		("terminated by SIG$_ while it waits" => [ "mv '$file' '$dir/away'; "
			. "sed -i 's/^archive-timeout.*/archive-timeout=1m/' '$conf'; "
			. "\"\$program\" \"\$@\" & sleep 0.3; kill -$_ \$!; wait \$!; $or_die",
			sub { rename "$dir/away", $file or die "rename: $!" } ])
	} qw(TERM HUP),
);
my @short = ('unknown option value', 'missing configuration', 'repository path absent', 'repository path empty',
	'unreadable archive folder', 'unreadable folder of segments', 'repository not mounted', 'killed at its start',
	'killed at work', 'terminated by SIGTERM while it waits');
for my $name (full_run() ? sort keys %cause : @short) {
	my ($script, $undo) = @{$cause{$name}};
	fresh();
	spew($hook, "$script\n");
	stops_in_recovery($restored, $name);
	unlink $hook, $conf;
	spew($conf, $right);
	$undo->() if $undo;
	recovers_whole($restored, $state, $name);
}

# Wrong from the very first request on.
fresh();
spew($conf, "[global]\nrepo1-path=$empty\n");
stops_in_recovery($restored, 'wrong from the start');
spew($conf, $right);
recovers_whole($restored, $state, 'wrong from the start');

# An operator may end a recovery at a hole on purpose.
rename $file, "$dir/away" or die "rename: $!";
restore('--archive-mode=off', '--archive-gap=end');
ok($restored->start, 'archive-gap=end: the server starts');
$restored->wait_for_recovery_end;
like($restored->log_text, qr/WARN: +WAL segment $middle is missing .*recovery ends here/, 'with a warning');
my ($rows, $last) = split /\|/, $restored->psql('SELECT count(*), max(id) FROM numbered');
my ($all) = split /\|/, $state;
ok($rows == $last && $rows < $all, "the rows before the hole are there, and no others: $rows of $all");

# A recovery to the end of the backup alone does not mind what is missing behind it, but it needs its own WAL.
rename "$dir/away", $file or die "rename: $!";
restore('--archive-mode=off', '--type=immediate', '--target-action=promote');
my $stop = $get->info->[0]{backup}[-1]{archive}{stop};
my ($own) = glob "$repo/archive/demo/*/*/$stop-*";
rename $own, "$dir/away" or die "rename: $!";
ok(!$restored->start(may_fail => 1), 'type immediate: the server does not start without the WAL of the backup');
like($restored->log_text, qr/FATAL: +(?:WAL ends before end of online backup|could not locate required checkpoint record)/,
	'and says so');
rename "$dir/away", $own or die "rename: $!";
rename $file, "$dir/away" or die "rename: $!";

# A standby keeps asking, and archive-get does not keep it from streaming by waiting for a hole to be filled.
$get->set(global => { 'archive-timeout' => '10m' });
restore('--archive-mode=off', '--type=standby');
my $asked = sub { scalar(() = slurp($requests) =~ /^$_[0]$/mg) };
my $before = $asked->($middle);
$restored->start;
ok(wait_until(sub { $asked->($middle) >= $before + 3 }), 'a standby asks again for a missing segment');
is($restored->psql('SELECT pg_is_in_recovery()'), 't', 'it stays in recovery');
rename "$dir/away", $file or die "rename: $!";
ok($restored->wait_sql('SELECT count(*) FROM numbered', $all), 'it goes on when the segment is back');
is(row_state($restored), $state, 'all rows are there');
spew($conf, "[global]\nrepo1-path=$empty\n");
$before = $asked->('\w{24}');
ok(wait_until(sub { $asked->('\w{24}') >= $before + 3 }), 'it asks for more, also when the repository is gone');
is($restored->psql('SELECT pg_is_in_recovery()'), 't', 'it is never promoted');
ok(-e $restored->data . '/standby.signal', 'standby.signal is there');

done_testing();
