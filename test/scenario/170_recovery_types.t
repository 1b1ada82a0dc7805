# How a restored server recovers, judged by the server itself: targets by transaction and LSN, standbys, settings of
# the user's own that are preserved or handed through, timelines by all their names.  Copies of the cluster are
# restored beside it with archive-mode=off, so that they cannot write into its archive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my ($pg, $stanza, $place, $settings);

sub insert { $pg->psql("INSERT INTO t (tag) VALUES ('$_')") for @_ }

sub xid_of { return $pg->psql("SELECT xmin FROM t WHERE tag = '$_[0]'") }

sub backup {
	my ($label) = $stanza->run_ok('backup', '--type=full', @_) =~ /new backup label = (\S+)/;
	return $label // die "no label\n";
}

sub archive_all {
	my $segment = $pg->switch_wal;
	$pg->wait_archived($segment) or die "segment $segment was not archived\n" . $pg->log_tail;
}

sub stop_copy { $place->stop('immediate') if $place->running }

sub fresh_place {
	stop_copy();
	$place->remove_data;
	mkdir $place->data, 0700 or die "mkdir: $!";
}

sub restore_to_place {
	return $stanza->run_ok('restore', '--pg1-path=' . $place->data, @_);
}

# Restore a copy; what was appended to its settings is in $settings, without the head.
sub restore_copy {
	my ($name, @options) = @_;
	my $how = ref $options[-1] ? pop @options : {};
	fresh_place();
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $out = restore_to_place('--archive-mode=off', @options, { name => "$name: restore", %$how });
	$settings = slurp($place->data . '/postgresql.auto.conf') =~ s/\A.*?^# Recovery settings[^\n]*\n//msr;
	return $out;
}

sub signals { return join ' ', grep { -e $place->data . "/$_" } qw(recovery.signal standby.signal recovery.conf) }

sub tags { return $place->psql("SELECT string_agg(tag, ' ' ORDER BY id) FROM t") }

sub promoted_with {
	my ($name, $tags) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$place->start;
	$place->wait_for_recovery_end;
	is(tags(), $tags, "$name: rows $tags");
}

# What the settings in the data directory say, by PostgreSQL's own reading.
sub setting_of {
	my ($name) = @_;
	my ($code, $out, $err) = run_command([ $place->bin('postgres'), '-D', $place->data, '-C', $name ]);
	chomp $out;
	return $code == 0 ? $out : "exit $code\n$err";
}

# A restore_command of the user's own.
sub own_command {
	return shell_words($stanza->command('--pg1-path=' . $place->data)) . ' archive-get %f "%p"';
}

# Something by which a file that was written again, or replaced, is known.
sub identity {
	return join "\n", map { -l $_ ? "$_ -> " . readlink : join(' ', $_, (lstat)[1, 2, 7, 9], slurp($_)) }
		map { $place->data . "/$_" } @_;
}

sub test_targets {
	my ($first, $second, $at) = @_;

	restore_copy('xid', '--type=xid', "--target=$at->{xid}", "--set=$first", '--target-action=promote');
	like($settings, qr/^recovery_target_xid = '$at->{xid}'\nrecovery_target_action = 'promote'\n\z/m, 'xid: settings');
	promoted_with('xid', 'one two three');
	restore_copy('xid, exclusive', '--type=xid', "--target=$at->{xid}", "--set=$first", '--target-exclusive',
		'--target-action=promote');
	like($settings, qr/^recovery_target_inclusive = 'false'$/m, 'xid, exclusive: settings');
	promoted_with('xid, exclusive', 'one two');

	# no --set: the backups are chosen by their stop LSN
	restore_copy('lsn', '--type=lsn', "--target=$at->{lsn}", '--target-action=promote',
		{ like => qr/repo1: restore backup set \Q$first\E/ });
	like($settings, qr/^recovery_target_lsn = '\Q$at->{lsn}\E'$/m, 'lsn: settings');
	promoted_with('lsn', 'one two');
	restore_copy('lsn behind the second backup', '--type=lsn', "--target=$at->{late}", '--target-action=promote',
		{ like => qr/repo2: restore backup set \Q$second\E/ });
	promoted_with('lsn behind the second backup', 'one two three four');
}

sub test_choice {
	my ($first, $second) = @_;
	my $info = $stanza->info->[0]{backup};
	my %stop = map { $_->{label} => $_->{lsn}{stop} } @$info;

	fresh_place();
	my @to = ('--pg1-path=' . $place->data);
	$stanza->run_fail('restore', @to, '--type=lsn', '--target=0/28', { code => 75,
		name => 'an LSN before all backups: the message names what there is', like => qr{
			unable\ to\ find\ backup\ set\ with\ lsn\ less\ than\ or\ equal\ to\ '0/28'\n
			\s+backups\ end\ at:\ repo1\ \Q$stop{$first}\E\ \(\Q$first\E\)\n
			\s+backups\ end\ at:\ repo2\ \Q$stop{$second}\E\ \(\Q$second\E\)\n
			\s+HINT:\ the\ lowest\ lsn\ that\ can\ be\ reached\ is\ \Q$stop{$first}\E\.}x });
	$stanza->run_fail('restore', @to, '--type=time', '--target=2020-01-01 00:00:00', { code => 75,
		name => 'a time before all backups: the same', like => qr{
			with\ stop\ time\ less\ than\ '2020-01-01\ 00:00:00'\n
			\s+backups\ end\ at:\ repo1\ \d{4}-\d\d-\d\d\ [\d:]{8}[+-][\d:]+\ \(\Q$first\E\)\n
			\s+backups\ end\ at:\ repo2\ .*\(\Q$second\E\)\n
			\s+HINT:\ the\ earliest\ time\ that\ can\ be\ reached\ is\ '\d}x });
	$stanza->run_fail('restore', @to, '--type=lsn', '--target=28', { code => 29, like => qr/lsn requires two parts/ });

	# repo1 cannot be read; the restore names it and goes on
	my @infos = map { $stanza->path("repo/backup/demo/backup.info$_") } '', '.copy';
	my @good = map { slurp($_) } @infos;
	truncate_file($_, 20) for @infos;
	restore_to_place('--archive-mode=off', { name => 'an unreadable repository is named',
		like => qr/WARN: repo1: \[\w+Error\].*repo2: restore backup set \Q$second\E/s });
	fresh_place();
	$stanza->run_fail('restore', @to, "--set=$first", { code => 75, name => 'what only it has is not found',
		like => qr/backup set \Q$first\E is not valid.*1 repository\(s\) could not be read/s });
	spew($infos[$_], $good[$_]) for 0, 1;
}

# The conninfo must reach the primary as it was written: quotes, backslash and all.
sub test_standby {
	my $name = q(it's \\ "here");
	my $conninfo = "host='" . $pg->socket_dir . "' port=" . $pg->port
		. q( user=postgres application_name='it\\'s \\\\ "here"');

	restore_copy('standby', '--type=standby', "--recovery-option=primary-conninfo=$conninfo");
	is(signals(), 'standby.signal', 'standby: standby.signal and no other');
	is(-s $place->data . '/standby.signal', 0, 'standby: it is empty');
	unlike($settings, qr/standby_mode|recovery_target/, 'standby: no target, no standby_mode');
	is(setting_of('primary_conninfo'), $conninfo, 'standby: PostgreSQL reads the conninfo as it was given');
	$place->start;
	ok($pg->wait_sql('SELECT application_name FROM pg_stat_replication', $name), 'standby: it streams from the primary')
		or diag($place->log_tail);
	insert('streamed');
	ok($place->wait_sql("SELECT count(*) FROM t WHERE tag = 'streamed'", '1'), 'standby: and follows it');
	is($place->psql('SELECT pg_is_in_recovery()'), 't', 'standby: it stays in recovery');
	stop_copy();
	$pg->psql("DELETE FROM t WHERE tag = 'streamed'");
	archive_all();

	# without a primary it follows the archive
	restore_copy('standby of the archive', '--type=standby', '--target-timeline=latest');
	like($settings, qr/^recovery_target_timeline = 'latest'\n\z/m, 'standby of the archive: settings');
	$place->start;
	ok($place->wait_sql("SELECT string_agg(tag, ' ' ORDER BY id) FROM t", 'one two three four five'),
		'standby of the archive: all rows');
	is($place->psql('SELECT pg_is_in_recovery()'), 't', 'standby of the archive: it stays in recovery');
}

sub test_preserve {
	my ($first, $at) = @_;
	my $auto = $place->data . '/postgresql.auto.conf';
	my $command = own_command() =~ s/'/''/gr;
	my @common = ("archive_mode = 'off'", "restore_command = '$command'");

	# into an otherwise empty directory, with settings that the user has put there
	fresh_place();
	spew($auto, map { "$_\n" } @common, "recovery_target_xid = '$at->{xid}'", "recovery_target_action = 'promote'",
		"recovery_target_timeline = 'current'");
	spew($place->data . '/recovery.signal', '');
	chmod 0640, $auto;
	my $before = identity('postgresql.auto.conf', 'recovery.signal');
	$stanza->run_fail('restore', '--pg1-path=' . $place->data, { code => 40, name => 'without preserve they are in the way' });
	restore_to_place('--type=preserve', "--set=$first", { name => 'preserve: restore',
		like => qr/skip 'postgresql\.auto\.conf' -- recovery type is preserve/, unlike => qr/WARN|write/ });
	is(identity('postgresql.auto.conf', 'recovery.signal'), $before, 'preserve: the files are untouched');
	promoted_with('preserve', 'one two three');

	# again, over the server that grew out of it, with other settings
	stop_copy();
	unlink $place->data . '/recovery.signal';
	spew($place->data . '/standby.signal', 'mine');
	rename $auto, $place->data . '/my.conf' or die "rename: $!";
	my $elsewhere = work_dir() . '/my-auto.conf';
	spew($elsewhere, map { "$_\n" } @common, "cluster_name = 'mine'");
	symlink $elsewhere, $auto or die "symlink: $!";
	spew($place->data . "/$_", '') for qw(recovery.done standby.signal.old);
	$before = identity('postgresql.auto.conf', 'standby.signal');
	restore_to_place('--type=preserve', '--delta', { name => 'preserve, delta: restore', unlike => qr/WARN|write/ });
	is(identity('postgresql.auto.conf', 'standby.signal'), $before, 'preserve, delta: files and links are untouched');
	ok(!-e $place->data . "/$_", "preserve, delta: $_ is gone") for qw(my.conf recovery.done standby.signal.old);
	$place->start;
	ok($place->wait_sql("SELECT string_agg(tag, ' ' ORDER BY id) FROM t", 'one two three four five'),
		'preserve, delta: all rows');
	is($place->psql('SHOW cluster_name'), 'mine', 'preserve, delta: the settings are the user\'s');
	is($place->psql('SELECT pg_is_in_recovery()'), 't', 'preserve, delta: it is a standby');
	stop_copy();

	# the same directory with nothing to be preserved in it
	unlink $auto, $place->data . '/standby.signal';
	restore_to_place('--type=preserve', '--force', '--archive-mode=off', { name => 'preserve without files: restore warns',
		like => qr{(?=.*recovery\ type\ is\ preserve\ but\ recovery\ file\ does\ not\ exist\ at\ '\Q$auto\E')
			(?=.*neither\ recovery\.signal\ nor\ standby\.signal\ exists)
			(?=.*archive-mode=off\ has\ no\ effect)}xs });
	ok(!-e $place->data . "/$_", "preserve without files: no $_") for qw(postgresql.auto.conf recovery.signal standby.signal);
}

sub test_options {
	my ($second) = @_;
	my $list = work_dir() . "/fetched$pg->{version}";
	my $own = "echo %f >> $list; " . own_command();

	restore_copy('own restore_command', "--recovery-option=restore-command=$own", '--recovery-option=cluster-name=a\\b\'c');
	is(() = $settings =~ /restore_command/g, 1, 'own restore_command: it stands alone');
	is(setting_of('restore_command'), $own, 'own restore_command: as it was given');
	promoted_with('own restore_command', 'one two three four five');
	like(slurp($list), qr/^[0-9A-F]{24}$/m, 'own restore_command: it was run');
	is($place->psql('SHOW cluster_name'), 'a\\b\'c', 'quotes and backslashes reach the server');
	is($place->psql('SHOW archive_mode'), 'off', 'archive-mode=off: the copy does not archive');

	fresh_place();
	restore_to_place('--archive-mode=preserve');
	is(setting_of('archive_mode'), 'on', 'archive-mode=preserve: a copy archives as the cluster does');

	fresh_place();
	my @to = ('--pg1-path=' . $place->data);
	$stanza->run_fail('restore', @to, '--recovery-option=standby-mode=on', { code => 31,
		like => qr/'standby_mode' setting is not valid for PostgreSQL >= 12\n\s+HINT: use --type=standby/ });
	$stanza->run_fail('restore', @to, '--recovery-option=a b=1', { code => 32,
		like => qr/'a b' is not valid for 'recovery-option' option/ });
	$stanza->run_fail('restore', @to, '--type=none', '--recovery-option=a=1', { code => 31 });
	$stanza->run_fail('restore', @to, '--type=standby', '--target=x', { code => 31 });
	$stanza->run_fail('restore', @to, '--type=preserve', '--target-timeline=latest', { code => 31 });
	$stanza->run_fail('restore', @to, '--type=xid', { code => 37, like => qr/requires option: target/ });
	is_deeply([ glob $place->data . '/*' ], [], 'a refused restore writes nothing');
}

# The cluster itself goes back to its second backup and lives on as timeline 2.
sub test_timelines {
	my ($second) = @_;

	$pg->stop;
	$stanza->run_ok('restore', '--delta', "--set=$second", '--type=immediate', '--target-action=promote');
	$pg->start;
	$pg->wait_for_recovery_end;
	insert('branch');
	archive_all();

	my ($old, $new) = ('one two three four five', 'one two three four branch');
	for (['none', undef, $new], ['latest', 'latest', $new], ['current', 'current', $old], ['number', '2', $new],
		['number of the old one', '1', $old], ['hex', '0x2', $new], ['hex of the old one', '0x00000001', $old]) {
		my ($name, $given, $tags) = @$_;
		restore_copy("timeline $name", "--set=$second", $given ? "--target-timeline=$given" : ());
		my $line = $given ? "recovery_target_timeline = '$given'\n" : '';
		like($settings, qr/archive-get %f "%p"'\n$line\z/, "timeline $name: settings");
		promoted_with("timeline $name", $tags) if full_run() || $name =~ /^(number|hex of)/;
	}
	restore_copy('timeline with zeros', "--set=$second", '--target-timeline=0001');
	is(setting_of('recovery_target_timeline'), '1', 'a number with zeros in front is no octal one');

	fresh_place();
	for my $bad (qw(zz 0 -1 1x 0x 0xg 4294967296 Latest), ' 1') {
		$stanza->run_fail('restore', '--pg1-path=' . $place->data, "--set=$second", "--target-timeline=$bad",
			{ code => 58, like => qr/invalid target timeline '\Q$bad\E'/ });
	}
	is_deeply([ glob $place->data . '/*' ], [], 'a refused restore writes nothing');
}

for my $version (grep { $_ >= 12 } pg_versions()) {
	$pg = PgStrata::Cluster->new(name => "v$version", version => $version, wal_segsize => 1);
	$place = PgStrata::Cluster->new(name => "copy$version", version => $version, init => 0);
	$stanza = PgStrata::Stanza->new(id => "v$version", cluster => $pg, options => { global => {
		'process-max' => 2, 'repo2-path' => work_dir() . "/repo2-$version" } });
	$pg->archive_to($stanza);
	$pg->start;
	$stanza->run_ok('stanza-create', { name => "stanza-create on PostgreSQL $version" });
	$pg->psql($_) for 'CREATE TABLE t (id serial, tag text)', "ALTER SYSTEM SET work_mem = '5MB'";

	my %at;
	insert('one');
	my $first = backup('--repo=1');
	insert('two');
	$at{lsn} = $pg->psql('SELECT pg_current_wal_insert_lsn()');
	insert('three');
	$at{xid} = xid_of('three');
	insert('four');
	my $second = backup('--repo=2');
	$at{late} = $pg->psql('SELECT pg_current_wal_insert_lsn()');
	insert('five');
	archive_all();

	test_targets($first, $second, \%at);
	test_choice($first, $second);
	test_standby();
	test_preserve($first, \%at);
	test_options($second);
	test_timelines($second);
	$_->running and $_->stop('immediate') for $pg, $place;
}

done_testing();
