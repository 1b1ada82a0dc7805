# Differential and incremental backups of a server: what each is based on, what is said, what the manifest has, which files
# are copied, compared or left to an earlier backup, and that each backup of a chain restores to a sound cluster.
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop qw(edit_info_file);
use PgStrata::Recovery qw(copy_tree);
use Test::More;
use Time::HiRes qw(sleep time);

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off' ]);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst', 'repo1-retention-full' => 9,
	'process-max' => 2 } });
my $data = $pg->data;

sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }
sub warnings { return [ $_[0] =~ /^P\d+   WARN: (.*(?:\n +HINT: .*)?)/mg ] }
sub manifest { return slurp($stanza->path("repo/backup/demo/$_[0]/backup.manifest")) }
sub row { my ($label, $name) = @_; my ($row) = manifest($label) =~ /^\Q$name\E=(\{.*\})$/m; return $row // '' }
sub copied { return sort map { s{^\Q$data\E/}{}r } $_[0] =~ /DETAIL: backup file (\S+) \(/g }
sub matched { return sort map { s{^\Q$data\E/}{}r } $_[0] =~ /DETAIL: match file from prior backup (\S+) \(/g }
sub referenced { return $_[0] =~ /DETAIL: reference (\S+) to / ? { $_[0] =~ /DETAIL: reference (\S+) to (\S+)/g } : {} }

my (@labels, %rows);
sub rows_of { return $_[0]->psql('SELECT count(*), sum(id), md5(string_agg(t, NULL ORDER BY id)) FROM t') }
sub back_up {
	my ($type, @options) = @_;
	my $how = ref $options[-1] ? pop @options : {};
	my $rows = rows_of($pg);
	my $out = $stanza->run_ok('backup', defined $type ? "--type=$type" : (), @options, $how);
	push @labels, label_of($out);
	$rows{$labels[-1]} = $rows;
	return ($out, $labels[-1]);
}

# Long enough ago that its time is believed.
sub settle { sleep 3.1 }

# --- a chain of five ---

$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$pg->psql($_) for 'CREATE TABLE t AS SELECT id, md5(id::text) AS t FROM generate_series(1, 2000) id', 'CREATE INDEX ON t (id)',
	'CREATE TABLE still AS SELECT generate_series(1, 3000) AS id', 'VACUUM FREEZE', 'CHECKPOINT';
mkdir "$data/extra";
spew("$data/extra/$_->[0]", $_->[1]) for [ still => 'x' x 5000 ], [ empty => '' ], [ touched => 'y' x 5000 ], [ gone => 'z' ],
	[ rewritten => 'same size' ], [ large => 'l' x 6_000_000 ];
my $relation = $pg->psql(q{SELECT pg_relation_filepath('still')});
$stanza->run_ok('stanza-create');
settle();
my ($out, $full) = back_up(undef, { name => 'without a type and a prior' });
is_deeply(warnings($out), [ 'no prior backup exists, incr backup has been changed to full' ], 'it becomes full and says so');
like($full, qr/^\d{8}-\d{6}F$/, 'also by its label');
unlike(manifest($full), qr/^backup-prior=|"reference":/m, 'it depends on nothing');
like(manifest($full), qr/^backup-reference="$full"$/m, 'and lists itself');

unlink "$data/extra/gone";
utime time, time, "$data/extra/touched", "$data/extra/large";
spew("$data/extra/rewritten", 'SAME SIZE');
spew("$data/extra/new", 'n' x 100);
$pg->psql('INSERT INTO t SELECT id, md5(id::text) FROM generate_series(2001, 2100) id; CHECKPOINT');
my ($incr, $diff);
($out, $incr) = back_up(undef, { name => 'without a type', like => qr/INFO: last backup label = $full, version = pgStrata \S+\n/ });
is_deeply(warnings($out), [], 'nothing to warn of');
like($incr, qr/^${full}_\d{8}-\d{6}I$/, 'its label is of the set');
my $manifest = manifest($incr);
like($manifest, qr/^$_$/m, "manifest: $_") for "backup-prior=\"$full\"", "backup-reference=\"$full,$incr\"", 'backup-type="incr"',
	'option-delta=false', 'option-hardlink=false';
unlike($manifest, qr/^backup-bundle/m, 'manifest: no bundles');
my %copied = map { $_ => 1 } copied($out);
ok($copied{$_}, "copied: $_") for qw(extra/new extra/rewritten global/pg_control);
my $references = referenced($out);
is($references->{"pg_data/$_"}, $full, "referenced: $_") for $relation, qw(extra/still extra/touched extra/large PG_VERSION);
ok(!$copied{$relation}, 'an unchanged relation is not copied');
is_deeply([ grep { m{^extra/} } matched($out) ], [ qw(extra/large extra/touched) ], 'touched files are read and found unchanged');
ok(!(grep { $_ eq $relation } matched($out)), 'unchanged ones are not even read');
is(row($incr, 'pg_data/extra/gone'), '', 'a deleted file is not in the manifest');
like(row($incr, 'pg_data/extra/new'), qr/^(?!.*reference)/, 'a new one is');
my ($then, $now) = map { row($_, 'pg_data/extra/touched') =~ /"timestamp":(\d+)/ } $full, $incr;
cmp_ok($now, '>', $then, 'a referenced file has its new time');
like($out, qr/^P00   INFO: incr backup size = \S+, file total = \d+$/m, 'size and number of files');
ok(!-e $stanza->path("repo/backup/demo/$incr/pg_data/extra/large.zst"), 'what was stored in vain is gone');
ok(!-e $stanza->path("repo/backup/demo/$incr/pg_data/pg_twophase"), 'no directory without a file');

sub touch_t { $pg->psql("UPDATE t SET t = md5(t) WHERE id % 7 = $_[0]; CHECKPOINT") }
touch_t(1);
($out, $diff) = back_up('diff', { name => 'diff', like => qr/last backup label = $full,/ });
like($diff, qr/^${full}_\d{8}-\d{6}D$/, 'its label');
like(manifest($diff), qr/^backup-prior="$full"\nbackup-reference="$full,$diff"$/m, 'it is based on the full one');
touch_t(2);
($out, my $incr2) = back_up('incr', { name => 'incr after the diff', like => qr/last backup label = $diff,/ });
like(manifest($incr2), qr/^backup-prior="$diff"\nbackup-reference="$full,$diff,$incr2"$/m, 'the list is inherited');
touch_t(3);
($out, my $incr3) = back_up('incr', { name => 'incr after the incr', like => qr/last backup label = $incr2,/ });
my %from = reverse %{referenced($out)};
is_deeply([ sort keys %from ], [ sort $full, grep { $from{$_} } $diff, $incr2 ], 'references name those that hold the files');
my ($info) = grep { $_->{label} eq $incr3 } @{$stanza->info->[0]{backup}};
is_deeply([ @$info{qw(type prior reference)} ], [ 'incr', $incr2, [ $full, $diff, $incr2 ] ], 'info knows the chain');
cmp_ok($info->{info}{delta}, '<', $info->{info}{size}, 'and that it is small');

# --- settings of a set ---

touch_t(4);
($out) = back_up('incr', '--compress-type=gz', '--compress-level=9', '--checksum-page=n', { name => 'settings that cannot change' });
is_deeply(warnings($out), [ "incr backup cannot alter compress-type option to 'gz', reset to value in $incr3",
	"incr backup cannot alter 'checksum-page' option to 'false', reset to 'true' from $incr3" ], 'are taken from the prior');
like(manifest($labels[-1]), qr{^$_$}m, "the manifest has $_") for 'option-checksum-page=true', 'option-compress-level=3',
	'option-compress-type="zst"';
($out) = back_up('incr', '--compress-level=1', { name => 'the level may change' });
is_deeply(warnings($out), [], 'silently');
like(manifest($labels[-1]), qr/^option-compress-level=1$/m, 'in the manifest too');

# --- hard links, bundles, and back ---

touch_t(5);
($out, my $hard) = back_up('incr', '--repo1-hardlink', '--compress-level=1', { name => 'hard links' });
like(manifest($hard), qr/^option-hardlink=true$/m, 'the manifest says so');
like($out, qr/^P00 DETAIL: hardlink pg_data\/PG_VERSION to $full$/m, 'the log too');
unlike($out, qr/DETAIL: reference/, 'nothing is only referenced');
my ($there, $here) = map { $stanza->path("repo/backup/demo/$_/pg_data/PG_VERSION.zst") } $full, $hard;
is((stat $here)[1], (stat $there)[1], 'a file of the full backup has another name');
is_deeply([ map { -d $stanza->path("repo/backup/demo/$hard/pg_data/$_") ? () : $_ } qw(pg_twophase pg_notify base) ], [],
	'all directories are there');
my @rows = $manifest =~ /^pg_data\/.*=\{.*"size":/mg;
my %names = map { s/\.zst$//r => 1 } grep { /^pg_data/ } keys %{snapshot($stanza->path("repo/backup/demo/$hard"))};
is_deeply([ grep { !$names{$_} } manifest($hard) =~ /^(pg_data\/\S+)=\{"?.*"size":/mg ], [], 'so are all files');
my $held = slurp($there);
touch_t(6);
$stanza->set(global => { 'repo1-hardlink' => 'y' });
($out, my $bundled) = back_up('incr', '--repo1-bundle', '--compress-level=1', { name => 'bundles' });
$stanza->set(global => { 'repo1-hardlink' => undef });
unlike($out, qr/hardlink \S+ to/, 'turn hard links off');
like($out, qr/DETAIL: backup file \S+ \(bundle \d+\/\d+, \S+, [\d.]+%\) checksum/, 'members are told with their place');
like($out, qr/^P00 DETAIL: store zero-length file \Q$data\E\/extra\/empty$/m, 'so are files without content');
like(row($bundled, 'pg_data/extra/empty'), qr/^\{"mode":"0\d+","size":0,"timestamp":\d+\}$/, 'which are nothing but a line');
like(manifest($bundled), qr/^backup-bundle=true$/m, 'the manifest says so');
like(manifest($bundled), qr/^option-hardlink=false$/m, 'and that there are no links');
my @bundles = glob $stanza->path("repo/backup/demo/$bundled/bundle/*");
ok(@bundles > 0, 'there is a bundle');
ok(!-e $stanza->path("repo/backup/demo/$bundled/pg_data/PG_VERSION.zst"), 'and no file for what did not change');
ok(-e $stanza->path("repo/backup/demo/$bundled/pg_data/backup_label.zst"), 'backup_label is a file of its own');
touch_t(0);
($out, my $after) = back_up('incr', '--repo1-hardlink', '--compress-level=1', { name => 'hard links after bundles' });
like($out, qr/^P00 DETAIL: hardlink pg_data\/PG_VERSION to $full$/m, 'what is a file gets another name');
like(row($after, 'pg_data/extra/empty'), qr/"rck"/, 'a file without content is stored again');
is(slurp($there), $held, 'files of earlier backups are as they were');

# --- content or times ---

sub delta_backup {
	my ($name, $change, @expected) = @_;
	$change->();
	my ($out, $label) = back_up('incr', { name => $name });
	is(join("\n", @{warnings($out)}), join("\n", @expected), "$name: the reason");
	like(manifest($label), @expected ? qr/^option-delta=true$/m : qr/^option-delta=false$/m, "$name: the manifest says so");
	ok((grep { $_ eq $relation } matched($out)) == (@expected ? 1 : 0), "$name: unchanged files are " . (@expected ? '' : 'not ') . 'read');
	return $out;
}
my $extra = "$data/extra/rewritten";
$out = delta_backup('nothing special', sub { });
my $mtime = (stat $extra)[9];
delta_backup('a time that went back', sub { utime $mtime, $mtime - 100, $extra },
	"file '$extra' has timestamp earlier than prior backup (prior $mtime, current @{[$mtime - 100]}), enabling delta checksum");
$mtime -= 100;
delta_backup('another size under the same time', sub { spew($extra, 'longer than before'); utime $mtime, $mtime, $extra },
	"file '$extra' has same timestamp ($mtime) as prior but different size (prior 9, current 18), enabling delta checksum");
$out = delta_backup('other content under the same size and time', sub { spew($extra, 'LONGER THAN BEFORE'); utime $mtime, $mtime, $extra });
ok((grep { $_ eq 'extra/rewritten' } copied($out)), 'it is found by its inode');
my $future = int(time) + 1000;
utime $future, $future, $extra;
($out) = back_up('incr', { name => 'a file from the future' });
like($out, qr/WARN: file '\Q$extra\E' has timestamp \($future\) in the future \(relative to copy start \d+\), enabling delta checksum\n/,
	'the reason');
($out) = back_up('incr', '--no-delta', { name => 'still from the future, --no-delta' });
like($out, qr/in the future/, 'the reason is stronger');
utime time, time, $extra;
delta_backup('back from the future', sub { utime time, $future - 999, $extra },
	"file '$extra' has timestamp earlier than prior backup (prior $future, current @{[$future - 999]}), enabling delta checksum");
($out) = back_up('incr', '--delta', { name => '--delta' });
is_deeply(warnings($out), [], 'needs no reason');
ok((grep { $_ eq $relation } matched($out)), 'all files are compared');

# Changed in the second in which the list was made: whichever of them comes first, none may be lost.
for my $round (1 .. (full_run() ? 3 : 1)) {
	my $writer = spawn_command([ $^X, '-MTime::HiRes=sleep', '-e', q{
		for my $n (1 .. 400) { open(my $o, '+<', $ARGV[0]) or die; print $o sprintf '%08d', $n; close $o; sleep 0.01 }
		open(my $o, '>', "$ARGV[0].done"); }, "$data/extra/busy" ]) if !-e "$data/extra/busy.done" || unlink "$data/extra/busy.done";
	spew("$data/extra/busy", '00000000');
	wait_until(sub { -s "$data/extra/busy" }, 5);
	($out) = back_up('incr', { name => "round $round: with a file that changes all the time" });
	wait_until(sub { -e "$data/extra/busy.done" });
	reap($writer);
	($out, my $label) = back_up('incr', { name => "round $round: and when it has come to rest" });
	my $sum = Digest::SHA->new(1)->addfile("$data/extra/busy")->hexdigest;
	like(row($label, 'pg_data/extra/busy'), qr/"checksum":"$sum"/, "round $round: the last content is in the backup");
}

# --- interrupted ---

$stanza->set(global => { 'repo1-bundle' => 'y' });
for my $round (1 .. (full_run() ? 12 : 2)) {
	touch_t($round % 7);
	my $process = spawn_command([ $stanza->command('backup', '--type=incr') ]);
	sleep 0.1 + rand 1.2;
	kill 'KILL', $process->{pid};
	my ($code) = reap($process);
	wait_until(sub { # its workers may hold the lock a moment longer
		my ($busy) = $stanza->run('check', '--no-archive-check');
		return $busy == 0 });
	my @unfinished = grep { !-e $stanza->path("repo/backup/demo/$_/backup.manifest") } $stanza->labels;
	is("@unfinished", '', "round $round: only complete backups are listed");
	my @result;
	wait_until(sub { @result = $stanza->run('backup', '--type=incr'); $result[0] != 50 });
	is($result[0], 0, "round $round: the next one works") or diag(@result[1, 2]);
	push @labels, label_of($result[1]);
	$rows{$labels[-1]} = rows_of($pg);
	my @left = grep { !-e "$_/backup.manifest" } glob $stanza->path('repo/backup/demo/2*F*');
	is("@left", '', "round $round: and nothing is left over");
}
$stanza->set(global => { 'repo1-bundle' => undef });

# --- another timeline ---

ok($pg->wait_archived($pg->switch_wal), 'all WAL is archived');
my $before = rows_of($pg);
$pg->stop;
my $aside = work_dir() . '/aside';
copy_tree($data, $aside);
$stanza->run_ok('restore', '--pg1-path=' . $copy->data, '--type=default', '--archive-mode=preserve', { name => 'a standby takes over' });
$copy->start;
$copy->wait_for_recovery_end;
is(rows_of($copy), $before, 'with all rows');
$stanza->set_cluster($copy);
($pg, $data) = ($copy, $copy->data);
my $prior = $labels[-1];
$pg->psql('INSERT INTO t SELECT id, md5(id::text) FROM generate_series(3001, 3100) id');
($out, my $failover) = back_up('incr', { name => 'a backup of the new primary' });
is_deeply(warnings($out), [ "a timeline switch has occurred since the $prior backup, enabling delta checksum\n"
	. (' ' x 12) . 'HINT: this is normal after restoring from backup or promoting a standby.' ], 'compares all files')
	or diag(explain(warnings($out)));
like(manifest($failover), qr/^option-delta=true$/m, 'the manifest says so');
ok((grep { $_ eq $relation } matched($out)), 'and finds most unchanged');

# --- each restores ---

ok($pg->wait_archived($pg->switch_wal), 'all WAL is archived');
$pg->stop;
my $check = PgStrata::Cluster->new(name => 'check', init => 0);
my @wanted = full_run() ? @labels : @labels[0, 4, 9, -1];
for my $label (@wanted) {
	$check->remove_data;
	$stanza->run_ok('restore', "--set=$label", '--pg1-path=' . $check->data, qw(--archive-mode=off --type=immediate
		--target-action=promote), { name => "$label: restore" });
	$check->start;
	$check->wait_for_recovery_end;
	is(rows_of($check), $rows{$label}, "$label: has the rows of its time");
	$check->stop;
	my ($code, $text, $err) = run_command([ $check->bin('pg_checksums'), '--check', '-D', $check->data ]);
	ok($code == 0, "$label: all pages have their checksum") or diag($text, $err);
}

# --- the cluster was set back ---

($pg, $data) = (PgStrata::Cluster->new(name => 'set-back', init => 0, data => $aside), $aside);
my $other = PgStrata::Stanza->new(id => 'back', cluster => $pg, options => { global => { 'repo1-retention-full' => 9 } });
my $earlier = work_dir() . '/earlier';
copy_tree($aside, $earlier);
$pg->conf_add("archive_command = '/bin/true pgbackrest'");
$pg->start;
$other->run_ok('stanza-create');
$pg->psql('CREATE TABLE later AS SELECT generate_series(1, 20000)');
$other->run_ok('backup', '--no-archive-check', { name => 'a backup of a cluster' });
$pg->stop('immediate');
remove_tree($aside);
rename $earlier, $aside or die "rename: $!";
$pg->conf_add("archive_command = '/bin/true pgbackrest'");
$pg->start;
$other->run_ok('backup', '--no-archive-check', { name => 'that is then set back',
	like => qr/WARN: the start of this backup \(\S+\) is not after the end of the \S+ backup \(\S+\), enabling delta checksum\n +HINT: has the data directory been set back/ });
$pg->stop;

# --- offline, online ---

$other->run_ok('backup', '--no-online', { name => 'offline after online',
	like => qr/WARN: the online option has changed since the \S+ backup, enabling delta checksum\n/ });
$other->run_fail('backup', '--no-online', { code => 55, name => 'nothing has changed', like => qr/\[055\]: no files have changed since the last backup - this seems unlikely\n/ });

# --- broken chains ---

my @chain = $other->labels;
my $repository = $other->path('repo/backup/demo');
my $lost = pop @chain;
rename "$repository/$lost/backup.manifest", "$repository/$lost/lost" or die "rename: $!";
rename "$repository/$lost/backup.manifest.copy", "$repository/$lost/lost.copy";
$other->run_ok('backup', '--no-online', '--delta', { name => 'without its newest backup', like => qr/WARN: backup '$lost' missing manifest removed.*last backup label = $chain[-1],/s });
remove_tree("$repository/$chain[0]");
edit_info_file("$repository/backup.info", sub { s/^\Q$chain[0]\E=.*\n//m });
$other->run_fail('backup', '--no-online', { code => 75, name => 'without its full backup',
	like => qr/\[075\]: backup '\S+' depends on backup '$chain[0]', which does not exist any more\n +HINT: use --type=full\./ });
$other->run_ok('backup', '--no-online', '--type=full', { name => 'a full one helps' });
done_testing();
