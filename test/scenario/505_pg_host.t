# A repository host that takes backups of clusters on another host, through a real sshd: the commands that ask a server,
# backups of every kind, several hosts, and what becomes of a backup whose session is gone.  What is restored here is what
# was there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Hosts;
use PgStrata::Standby;
use Test::More;

need_sshd();

my @made = map { work_dir() . "/$_" } qw(multixact ts ts-standby multixact-standby);
mkdir $_ for @made;

my $pg = PgStrata::Cluster->new(name => 'primary', wal_segsize => 1, checksums => 1,
	conf => [ 'autovacuum = off', 'checkpoint_timeout = 1h', 'max_wal_size = 1GB', 'wal_keep_size = 200MB' ]);
my %secret = ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'known to the repository host only');
my $hosts = PgStrata::Hosts->new(cluster => $pg, repo => { global => { %secret, 'archive-timeout' => '20s',
	'compress-type' => 'lz4', 'process-max' => 2, 'repo1-bundle' => 'y', 'repo1-block' => 'y' } });
my ($repo, $there) = ($hosts->repo, $hosts->pg);

# The same repository for the restores, which are not what is tested here.
my $here = PgStrata::Stanza->new(id => 'here', name => $repo->name, cluster => $pg, options => { global => { %secret,
	'repo1-path' => $repo->path('repo') } });
my $data = $pg->data;

rename "$data/pg_multixact", "$made[0]/mx" and symlink "$made[0]/mx", "$data/pg_multixact" or die "link: $!";
my $hold = held_archiving($pg, $there);
$pg->start;

my $sums = 'SELECT ' . join ', ', map { "(SELECT md5(string_agg(id || text, NULL ORDER BY id)) FROM $_)" } qw(wide spaced);

sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }
sub newest { return ($repo->labels)[-1] }

sub restored {
	my ($name, $state, @options) = @_;
	my $restored = PgStrata::Cluster->new(name => $name, init => 0);
	$here->run_ok('restore', '--pg1-path=' . $restored->data, '--target-action=promote', '--type=immediate',
		'--tablespace-map-all=' . work_dir() . "/$name.ts", '--link-map=pg_multixact=' . work_dir() . "/$name.mx",
		'--archive-mode=off', @options, { name => "restore $name" });
	$restored->start;
	$restored->wait_for_recovery_end;
	is($restored->psql($sums), $state, "$name holds what was there");
	my ($code, $out, $err) = run_command([ $restored->bin('pg_amcheck'), '-h', $restored->socket_dir, '-p', $restored->port,
		qw(-U postgres -d postgres --heapallindexed) ]);
	is("$code $out$err", '0 ', "$name: amcheck finds nothing");
	$restored->stop('immediate');
	$restored->remove_data;
}

# --- one host ---

sub one_host {
	$repo->run_ok('stanza-create');
	$repo->run_ok('check', { name => 'check', unlike => qr/WARN/,
		like => qr/WAL segment \w{24} successfully archived to .* on repo1\n/ });
	$pg->psql("CREATE EXTENSION amcheck; CREATE TABLESPACE ts LOCATION '$made[1]'");
	$pg->psql('CREATE TABLE spaced (id int PRIMARY KEY, text text) TABLESPACE ts; CREATE TABLE wide (id int PRIMARY KEY,'
		. " text text); INSERT INTO wide SELECT id, md5(id::text) || md5('x' || id) FROM generate_series(1, 30000) AS id");
	$pg->psql('INSERT INTO spaced SELECT id, text FROM wide WHERE id <= 2000');
	$pg->drop_templates;
	$pg->psql('VACUUM FREEZE'); # so that no page changes by being read
	my $full = $repo->run_ok('backup', '--type=full', { name => 'full', like => qr/execute backup stop/,
		unlike => qr/WARN: (?!option 'repo1-ret)/ });
	like($full, qr{DETAIL: backup file 127\.0\.0\.1:\Q$data\E/base/}, 'the log names the host');
	my $state = $pg->psql($sums);
	$pg->psql("UPDATE wide SET text = 'new' || id WHERE id < 100");
	my $changed = $pg->psql($sums);
	my $incr = $repo->run_ok('backup', '--type=incr', { name => 'incr with blocks' });
	my ($of_full, $of_incr) = map { $_->{info}{repository}{delta} } @{ $repo->info->[0]{backup} };
	cmp_ok($of_incr, '<', $of_full / 4, 'it stores the blocks that changed');
	cmp_ok($of_full, '>', 4_000_000, 'and not the largest file anew');
	restored('full', $state, '--set=' . label_of($full));
	restored('incr', $changed);
	$repo->run_ok('verify', { name => 'verify reads all of it' });
	$repo->run_ok('verify', '--archive', { name => 'verify --archive asks the server', like =>
		qr/integrity: OK\n.*timeline: OK\n +current timeline of the cluster: 1\n/s });
	$repo->run_ok('stanza-upgrade', { name => 'stanza-upgrade', like => qr/already up to date/ });
	$repo->run_ok('expire', '--repo1-retention-full=1');
	$hosts->quiet('after the commands of one host');
}


# --- a server that is down ---

# A repository that is not encrypted, of a configuration with these options.
sub plain {
	my ($id, $options) = @_;
	return PgStrata::Stanza->new(id => $id, name => $repo->name, options => { global => {
		'compress-type' => 'none', 'cmd-ssh' => $hosts->ssh('repo') }, $repo->name => $options });
}

# What it says of the cluster, and not of the run.
sub about_the_cluster {
	my ($stanza) = @_;
	return [ grep { !/^(?:backup-(?:label|reference|timestamp\S*)|option-buffer-size|backrest-checksum|\[cipher\])/ }
		split /\n/, manifest_of($stanza, ($stanza->labels)[-1]) ];
}

sub offline {
	my $far = plain('far', { %{ $hosts->address('pg', 1) }, 'pg1-path' => $data });
	my $near = plain('near', { 'pg1-path' => $data });
	$_->run_ok('stanza-create', '--no-online') for $far, $near;
	$far->run_fail('backup', '--no-online', { code => 38, name => 'a server runs there',
		like => qr/postmaster\.pid exists/ });
	$repo->run_fail('stanza-delete', { code => 55, name => 'no stop file' });
	$repo->run_ok('stop');
	$repo->run_fail('stanza-delete', { code => 38, name => 'stanza-delete sees the server there',
		like => qr/HINT: the file is in '127\.0\.0\.1:\Q$data\E'/ });
	$repo->run_ok('start');
	$pg->stop;
	$_->run_ok('backup', '--no-online', '--type=full') for $far, $near;
	is_deeply(about_the_cluster($far), about_the_cluster($near),
		'from the other host or from this one: names, owners, modes, links, sums');
	my $left_out = qr{(?:^|/)pg(?:sql_tmp$|_internal\.init)};
	my $target = work_dir() . '/offline';
	$far->run_ok('restore', '--reset-pg1-host', "--pg1-path=$target", "--link-map=pg_multixact=$target.mx",
		"--tablespace-map-all=$target.ts", { name => 'restore of the offline backup' });
	same_tree((map { snapshot("$_/base", ignore => $left_out) } $data, $target), 'it is what was there');
	same_tree(snapshot($made[0] . '/mx'), snapshot("$target.mx"), 'what a link leads to is, too');
	$pg->start;
}

# --- a second host, with a standby ---

my $standby;

sub two_hosts {
	$standby = standby_from($there, $pg, 'standby', "--tablespace-map=ts=$made[2]", "--link-map=pg_multixact=$made[3]/mx");
	ok(caught_up($pg, $standby), 'the standby follows');
	my %second = map { (s/^pg1/pg2/r => $hosts->address('pg', 1)->{$_}) } keys %{ $hosts->address('pg', 1) };
	$repo->set($repo->name => { %second, 'pg2-path' => $standby->data });
	$repo->run_fail('backup', '--backup-standby', { code => 56, name => 'that host knows of no second cluster',
		like => qr{WARN:\ unable\ to\ check\ pg2:\ \[HostInvalidError\]\ host\ '127\.0\.0\.1'\ has\ no\ cluster\ at
			\ '\Q${\$standby->data}\E'.*\ it\ has:\ pg1\ at\ '\Q$data\E'\n}x });
	$there->set_cluster($standby, 2);
	$repo->run_ok('check', '--backup-standby', { name => 'check of both', unlike => qr/WARN/,
		like => qr/check repo1 \(standby\)\n.*check repo1 archive for WAL \(primary\)\n/s });
	my $out = $repo->run_ok('backup', '--type=full', '--backup-standby', { name => 'full from the standby',
		like => qr/replay on the standby reached/ });
	my $from = from_right_server($out, $pg, $standby, 'standby');
	ok($from->{$_}, "$_ is there") for 'global/pg_control', 'pg_xact/0000', 'pg_multixact/offsets/0000';
	my $state = $pg->psql($sums);
	restored('from-standby', $state);
	$repo->run_fail('backup', '--type=incr', '--backup-standby', '--pg2-host-port=1', { code => 56,
		name => 'the standby\'s host is down', like => qr/WARN:\ unable\ to\ check\ pg2:\ \[HostConnectError\]\ .*'127\.0\.0\.1'
			.*\n.*\[056\]:\ unable\ to\ find\ standby\ cluster/sx });
	$repo->run_ok('backup', '--type=incr', '--backup-standby=prefer', '--pg2-host-port=1', { name => 'and is only preferred',
		like => qr/WARN: unable to check pg2: \[HostConnectError\].*using primary instead\n/s });
	$repo->run_fail('backup', '--pg1-host-port=1', { code => 56, name => 'the primary\'s host is down',
		like => qr/WARN: unable to check pg1: \[HostConnectError\].*unable to find primary cluster/s });
}

# --- the session ends during a backup ---

my $ours = "application_name LIKE 'pgStrata%'";

# While the backup stands between its start and the list, this happens.
sub happens {
	my ($name, $like, $event, @options) = @_;
	my @before = $repo->labels;
	spew($hold);
	my $process = start_backup($repo, '--type=full', @options);
	ok(until_it_logs($process, qr/check archive for (?:prior )?segment/), "$name: the backup has begun");
	$event->();
	unlink $hold;
	my ($code, $out) = reap($process);
	isnt($code, 0, "$name: it fails");
	like($out, $like, "$name: and says why");
	unlike($out, qr/execute backup stop/, "$name: before the end");
	is_deeply([ $repo->labels ], \@before, "$name: nothing is listed");
	$hosts->quiet("$name: when it has ended");
	is($pg->psql("SELECT count(*) FROM pg_stat_activity WHERE $ours"), 0, "$name: no session is left");
	$repo->run_ok('backup', '--type=incr', @options, { name => "$name: the next backup works" });
}

sub end_sessions {
	my ($cluster) = @_;
	$cluster->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $ours");
}

sub sessions_end {
	happens('session ended', qr/\[05[67]\]: .*host '127\.0\.0\.1'.*terminating connection due to administrator command/s,
		sub { end_sessions($pg) });
	happens('connection cut', qr/\[056\]: .*host '127\.0\.0\.1': the session on the database server was lost/,
		sub { $hosts->sshd->kill_sessions });
	happens('standby cut', qr/standby pg2 cannot be asked any more: .*host '127\.0\.0\.1'/,
		sub { end_sessions($standby) }, '--backup-standby');
}

# While a file is copied nobody asks for anything but that the server is there.
sub ends_while_copying {
	my $large = 'base/' . $pg->psql("SELECT oid FROM pg_database WHERE datname = 'postgres'") . '/large';
	spew("$data/$large", '');
	truncate_file("$data/$large", 8 << 30);
	my $process = start_backup($repo, qw(--type=full --reset-repo1-block --reset-repo1-bundle --db-timeout=5s
		--protocol-timeout=6s));
	ok(freeze_copy($repo, $process, $large), 'a file is copied') or diag(output_of($process));
	end_sessions($pg);
	my ($code, $out) = reap($process);
	unlink "$data/$large";
	is($code, 57, 'it ends with the session, whatever the workers do') or diag($out);
	like($out, qr/primary pg1 cannot be asked any more: .*HINT: was the primary stopped or restarted/s, 'and says why');
	$hosts->quiet('when it has ended');
}

# A start may wait for a checkpoint, as long as that takes; but not for somebody who is gone.
sub caller_killed {
	$pg->psql("UPDATE wide SET text = text || 'x'");
	my $process = start_backup($repo, '--type=full', '--no-start-fast');
	ok($pg->wait_sql("SELECT count(*) FROM pg_stat_activity WHERE $ours AND state = 'active'"
		. " AND query ~ 'pg_(backup_start|start_backup)'", '1'), 'a backup waits for the checkpoint');
	kill 'KILL', $process->{pid};
	reap($process);
	$hosts->quiet('when the one who asked was killed');
	is($pg->psql("SELECT count(*) FROM pg_stat_activity WHERE $ours"), 0, 'and no session');
	$repo->run_ok('backup', '--type=incr', { name => 'the next backup works' });
}

# --- the wrong ones ---

sub two_primaries {
	$standby->psql('SELECT pg_promote()');
	$standby->wait_for_recovery_end;
	$repo->run_fail('backup', { code => 56, name => 'two primaries',
		like => qr/\[056\]: more than one primary cluster found: pg1 and pg2\n/ });
	$standby->stop('immediate');
}

sub stopped_there {
	$there->run_ok('stop');
	$repo->run_fail('backup', { code => 56, name => 'a stop file on the other host',
		like => qr/WARN: unable to check pg1: \[StopError\] host '127\.0\.0\.1': stop file exists for stanza demo\n/ });
	$there->run_ok('start');
	$repo->run_ok('backup', '--type=incr', { name => 'and without it' });
}

one_host();
offline();
two_hosts();
sessions_end();
ends_while_copying();
caller_killed();
stopped_there();
two_primaries();
$hosts->quiet('at the end');
done_testing();
