# start, stop and stanza-delete: who is kept from working, who is ended, what goes and what stays.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $repo2 = work_dir() . '/repo2';
# What backups without a server are made of: little, so that they are quick.
my $data = work_dir() . '/little';
make_path("$data/global");
cp($pg->data . "/$_", "$data/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'archive-timeout' => '2m' } });
my $lock = $stanza->path('lock');
my $repo = $stanza->path('repo');
my ($wal) = glob $pg->data . '/pg_wal/' . '?' x 24;
my @offline = ('--no-online');

# The program with this configuration and no stanza.
sub run_all {
	my @words = @_;
	my ($code, $out, $err) = run_command([ program(), '--config=' . $stanza->config_file, @words ]);
	return ($code, $out . $err);
}
# A test point: exit code and what it says.
sub all_is {
	my ($words, $code, $like, $name) = @_;
	my ($got, $said) = run_all(@$words);
	ok($got == $code && $said =~ $like, $name // "@$words") or diag("exit $got: $said");
}

# --- start and stop ---

remove_tree($lock);
$stanza->run_ok('stop', { name => 'stop', unlike => qr/WARN/ });
is(sprintf('%04o %d', (stat "$lock/demo.stop")[2] & 07777, -s _), '0640 0', 'an empty file of the right mode');
is(sprintf('%04o', (stat $lock)[2] & 07777), '0750', 'its folder was made');
ok(-s $stanza->path('log/demo-stop.log'), 'it is logged');
$stanza->run_ok('stop', { name => 'stop again', like => qr/^P00   WARN: stop file already exists for stanza demo$/m });
for my $command ([ 'stanza-create', @offline ], [ 'stanza-upgrade', @offline ], [ 'backup', @offline ], [ 'archive-push', $wal ]) {
	$stanza->run_fail(@$command, { code => 62, like => qr/\[062\]: stop file exists for stanza demo/ });
}
$stanza->run_ok('info', { name => 'info does not care' });
PgStrata::Stanza->new(id => 'other', name => 'other', cluster => $pg, options => { global => {
	'repo1-path' => $repo, 'lock-path' => $lock } })->run_ok('stanza-create', @offline, { name => 'nor does another stanza' });
$stanza->run_ok('start', { unlike => qr/WARN/ });
ok(!-e "$lock/demo.stop", 'start removes the file');
$stanza->run_ok('start', { name => 'start again', like => qr/^P00   WARN: stop file does not exist for stanza demo$/m });

all_is([ 'stop' ], 0, qr/\A(?!.*WARN)/s, 'stop for all');
ok(-e "$lock/all.stop", 'it has its own file');
all_is([ 'stop' ], 0, qr/WARN: stop file already exists for all stanzas$/m, 'stop for all again');
$stanza->run_fail('stanza-create', @offline, { code => 62, like => qr/\[062\]: stop file exists for all stanzas/ });
$stanza->run_ok('start', { name => 'one stanza is not enough', like => qr/WARN: stop file does not exist for stanza demo\n.*WARN: stop file exists for all stanzas, stanza demo stays stopped/s });
ok(-e "$lock/all.stop", 'start of one stanza leaves it');
all_is([ 'start' ], 0, qr/\A(?!.*WARN)/s, 'start for all');
ok(!-e "$lock/all.stop", 'removes it');
all_is([ 'start' ], 0, qr/WARN: stop file does not exist$/m, 'start for all again');

# What cannot be done is no success.
symlink '/nowhere/at/all', "$lock/demo.stop" or die;
$stanza->run_fail('stop', { code => 41, name => 'a link in the place of the file', like => qr/unable to create stop file '.*demo\.stop'/ });
unlink "$lock/demo.stop";
mkdir "$lock/demo.stop";
$stanza->run_fail('start', { code => 60, name => 'a folder in the place of the file', like => qr/unable to remove stop file '.*demo\.stop'/ });
rmdir "$lock/demo.stop";
chmod 0500, $lock;
$stanza->run_fail('stop', { code => 41, name => 'no right to write', like => qr/\[13\] Permission denied/ });
chmod 0750, $lock;
for my $name ('../demo', '..', 'a/b') {
	my ($code, $said) = run_all("--stanza=$name", 'stop');
	is($code, 32, "stanza '$name' is none") or diag($said);
}
ok(!-e $stanza->path('demo.stop') && !-e $stanza->path('demo-stop.log'), 'and leaves nothing elsewhere');

# --- stop --force ---

# A process that holds a lock file and says that it is PID (default: itself).
sub holder {
	my ($name, $pid) = @_;
	my $process = spawn_command([ $^X, '-MFcntl=:flock', '-e', 'open F, ">", $ARGV[0]; flock F, LOCK_EX; $| = 1;'
		. 'my $pid = $ARGV[1] || $$; syswrite F, qq({"execId":"$pid-0a0b0c0d","pid":$pid}}tail}); sleep 120', "$lock/$name", $pid // 0 ]);
	wait_until(sub { -s "$lock/$name" }, 20) or die "no lock $name\n";
	return $process;
}
sub alive { my ($process) = @_; return kill(0, $process->{pid}) && waitpid($process->{pid}, 1) == 0 }
sub ended { my ($process) = @_; my ($code) = reap($process, 20); return $code == 128 + 15 }

$stanza->run_ok('stanza-create', @offline);
my $bystander = spawn_command([ 'sleep', 120 ]);
my @own = map { holder($_) } qw(demo-backup-1.lock demo-archive-12.lock demo-restore.lock demo-backup.lock);
my @others = map { holder($_) } qw(demo2-backup-1.lock demo-x-backup-1.lock demo-backup-archive-1.lock xdemo-backup-1.lock demo-backup-1.lock.old);
spew("$lock/demo-archive-1.lock", qq({"execId":"$bystander->{pid}-aa","pid":$bystander->{pid}}));
$stanza->run_ok('stop', { name => 'stop without force' });
ok(!(grep { !alive($_) } @own), 'it ends nobody');
my $out = $stanza->run_ok('stop', '--force', { like => qr/WARN: stop file already exists for stanza demo/ });
is_deeply([ sort { $a <=> $b } $out =~ /INFO: sent term signal to process (\d+)$/mg ], [ sort { $a <=> $b } map { $_->{pid} } @own ],
	'those that hold locks of the stanza are told');
ok(ended($_), 'and end') for @own;
ok(!(grep { !alive($_) } @others, $bystander), 'nobody else does');

# The number in a held file is another process's: a helper of one that was killed holds it.
my $strange = holder('demo-restore-2.lock', $bystander->{pid});
my $gone = holder('demo-restore-3.lock', 2 ** 22 - 1);
$out = $stanza->run_ok('stop', '--force', { name => 'a number that is not the holder', like => qr/WARN: process $bystander->{pid} of lock file '.*demo-restore-2\.lock' does not hold the lock/ });
unlike($out, qr/sent term/, 'nobody is told');
ok(alive($bystander) && alive($strange), 'nobody is ended');
kill 'KILL', -$_->{pid} for $strange, $gone;
reap($_) for $strange, $gone;
unlink glob "$lock/demo-restore-*.lock";

{
	open(my $silent, '>', "$lock/demo-archive-3.lock") or die;
	flock $silent, LOCK_EX or die;
	my $readable = holder('demo-backup-7.lock');
	spew("$lock/demo-backup-4.lock");
	chmod 0, "$lock/demo-backup-4.lock";
	$out = $stanza->run_ok('stop', '--force', { name => 'lock files that say nothing', like => qr/(WARN: unable to read lock file '.*demo-(archive-3|backup-4)\.lock'.*){2}/s });
	like($out, qr/sent term signal to process $readable->{pid}$/m, 'do not protect the others');
	ok(ended($readable), 'which end');
}
chmod 0640, "$lock/demo-backup-4.lock";
$stanza->run_ok('start');
all_is([ 'stop', '--force' ], 0, join('.*', map { "sent term signal to process $_->{pid}" } @others[2, 1, 0, 3]) =~ s/^/(?s)/r, 'all stanzas');
ok(ended($_), 'their processes end') for @others[0 .. 3];
ok(alive($others[4]), 'but not who holds some other file');
all_is([ 'start' ], 0, qr//);

# A real backup, which waits for WAL that never comes.
$pg->conf_add('archive_mode = on', "archive_command = 'false # pgbackrest'");
$pg->start;
my $backup = spawn_command([ $stanza->command('backup', '--type=full') ]);
ok(wait_until(sub { $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%backup%'") > 0 && -s "$lock/demo-backup-1.lock" }, 60), 'a backup runs');
$out = $stanza->run_ok('stop', '--force', { like => qr/sent term signal to process $backup->{pid}$/m });
is(scalar(() = $out =~ /sent term signal/g), 1, 'once, however many locks it has');
my ($code, $said) = reap($backup, 60);
is($code, 63, 'the backup ends');
like($said, qr/^terminated on signal SIGTERM$/m, 'and says why');
$stanza->run_fail('backup', { code => 62, name => 'none can be started' });
$stanza->run_ok('start');
$pg->stop;

# --- stanza-delete ---

sub tree { return { map { ($_ => snapshot($_)) } grep { -d } $repo, $repo2 } }
my @names = qw(demo demo2 dem emo);
my %named;
for my $name (@names) {
	$named{$name} = PgStrata::Stanza->new(id => "n-$name", name => $name, cluster => $pg, options => { global => {
		'repo1-path' => $repo, 'lock-path' => $lock }, $name => { 'pg1-path' => $data } });
	$named{$name}->run_ok('stanza-create', @offline, { name => "stanza $name" });
	$named{$name}->run_ok('backup', @offline, '--type=full', { name => "backup of $name" });
	$named{$name}->run_ok('archive-push', $wal, { name => "WAL of $name" });
}
my $demo = $named{demo};
$demo->run_fail('stanza-delete', { code => 55, name => 'without stop', like => qr/\[055\]: stop file does not exist for stanza 'demo'\n\s+HINT: / });
all_is([ 'stop' ], 0, qr//);
$demo->run_fail('stanza-delete', { code => 55, name => 'the stop file of all is not enough', like => qr/\[055\]: stop file does not exist/ });
all_is([ 'start' ], 0, qr//);
$demo->run_ok('stop');
spew("$data/postmaster.pid", '1');
my $before = tree();
$demo->run_fail('stanza-delete', { code => 38, name => 'PostgreSQL runs', like => qr/\[038\]: postmaster\.pid exists - looks like PostgreSQL is running\. To delete stanza 'demo' on repo1,/ });
$demo->set(demo => { 'pg1-path' => work_dir() . '/nowhere', 'pg2-path' => $data });
$demo->run_fail('stanza-delete', { code => 38, name => 'another of its clusters runs' });
$demo->set(demo => { 'pg1-path' => $data, 'pg2-path' => undef });
$demo->set(global => { 'repo2-path' => $repo2 });
$demo->run_fail('stanza-delete', { code => 37, name => 'which repository?', like => qr/\[037\]: stanza-delete command requires option: repo\n\s+HINT: this command requires a specific repository to operate on/ });
$demo->set(global => { 'repo2-path' => undef, 'repo1-path' => undef, 'repo3-path' => $repo });
$demo->run_fail('stanza-delete', { code => 37, name => 'a first repository that is not repo1' });
$demo->set(global => { 'repo3-path' => undef, 'repo1-path' => $repo });
{
	my $held = holder('demo-restore-1.lock');
	$demo->run_fail('stanza-delete', { code => 50, name => 'somebody works with the stanza' });
	kill 'KILL', -$held->{pid};
	reap($held);
}
is_deeply(tree(), $before, 'all of that changed nothing');
chmod 0, $data;
$demo->run_fail('stanza-delete', { name => 'whether PostgreSQL runs is unknown', like => qr/Permission denied/ });
chmod 0700, $data;
is_deeply(tree(), $before, 'unknown is not absent');

# Links lead out of the repository: they go, and nothing behind them.
my $outside = work_dir() . '/outside';
make_path("$outside/dir/deep", "$outside/wal");
spew("$outside/$_", 'precious') for 'file', 'dir/deep/file', 'dir/archive.info', 'wal/archive.info';
my ($label) = $demo->labels;
symlink "$outside/dir", "$repo/archive/demo/linked" or die;
symlink "../../../../outside/file", "$repo/backup/demo/$label/linked" or die;
symlink "$outside/file", "$repo/backup/demo/backup.info.more" or die;
my $untouched = snapshot($outside);
my %others = map { my $n = $_; map { ("$_/$n" => snapshot("$repo/$_/$n")) } qw(archive backup) } @names[1 .. 3];
$out = $demo->run_ok('stanza-delete', '--force', { like => qr/WARN: '.*archive\/demo\/linked' is a link to '\Q$outside\E\/dir': the link is removed, what it leads to is not/ });
ok(!-e "$repo/$_/demo", "$_/demo is gone") for qw(archive backup);
ok(!-e "$lock/demo.stop", 'so is the stop file');
same_tree($untouched, snapshot($outside), 'what links lead to stays');
same_tree($others{$_}, snapshot("$repo/$_"), "$_ stays") for sort keys %others;
$demo->run_ok('stanza-delete', { name => 'a stanza that is not there', like => qr/completed successfully/ });
$demo->run_ok('stop');
unlink "$data/postmaster.pid";
$demo->run_ok('stanza-delete', { name => 'only its stop file is there' });
ok(!-e "$lock/demo.stop", 'it is taken for a leftover');

# The stanza's folder is itself a link.
$demo->run_ok('stanza-create', @offline);
rename "$repo/archive/demo", "$outside/moved" or die;
symlink "$outside/moved", "$repo/archive/demo" or die;
$demo->run_ok('stop');
$untouched = snapshot($outside);
$demo->run_ok('stanza-delete', { like => qr/WARN: '.*archive\/demo' is a link to '\Q$outside\E\/moved'/ });
ok(!-l "$repo/archive/demo", 'the link is gone');
same_tree($untouched, snapshot($outside), 'what it led to is not');

# One of two repositories.
$demo->set(global => { 'repo2-path' => $repo2 });
$demo->run_ok('stanza-create', @offline, { name => 'in two repositories' });
$demo->run_ok('stop');
my $first = snapshot($repo);
$demo->run_ok('stanza-delete', '--repo=2');
ok(!-e "$repo2/archive/demo" && !-e "$repo2/backup/demo", 'gone from repo2');
same_tree($first, snapshot($repo), 'repo1 is as it was');
$demo->run_ok('stop');
$demo->run_ok('stanza-delete', '--repo=2', { name => 'again', like => qr/does not exist on repo2/ });
ok(-e "$lock/demo.stop", 'what stops repo1 stays');
$demo->run_ok('stanza-delete', '--repo=1');

# What an interrupted run may leave is not taken for a stanza, cannot be made one by mistake, and is removed by the
# next run.
$demo->set(global => { 'repo2-path' => undef });
my @steps = map { "$repo/$_" } qw(archive/demo/archive.info archive/demo/archive.info.copy backup/demo/backup.info
	backup/demo/backup.info.copy archive/demo);
$demo->run_ok('stanza-create', @offline);
$demo->run_ok('backup', @offline, '--type=full');
$demo->run_ok('archive-push', $wal);
run_command([ 'cp', '-a', $repo, work_dir() . '/saved' ]);
for my $n (1 .. @steps) {
	remove_tree($repo);
	run_command([ 'cp', '-a', work_dir() . '/saved', $repo ]);
	remove_tree(@steps[0 .. $n - 1]);
	if ($n >= 2) {
		$demo->run_fail('stanza-create', @offline, { name => "interrupted after $n steps: no stanza-create" });
		$demo->run_fail('backup', @offline, '--type=full', { name => "interrupted after $n steps: no backup" });
		is($demo->info->[0]{status}{message}, 'missing stanza data', "interrupted after $n steps: info");
	}
	$demo->run_ok('stop');
	$demo->run_ok('stanza-delete', { name => "interrupted after $n steps: again" });
	ok(!-e "$repo/archive/demo" && !-e "$repo/backup/demo" && !-e "$lock/demo.stop", "interrupted after $n steps: all is gone");
}

done_testing();
