# Backups without a server, and what is the same for all backups: compression, notes, save points, WAL copied into the
# backup, what is said about types and retention, the log file.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst' } });
my $data = $pg->data;
my $left_out = qr{^(postmaster\.(opts|pid)$|backup_label\.old$|(pg_notify|pg_replslot|pg_stat_tmp|pg_subtrans)/.|(.*/)?pg_internal\.init)};

sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }
sub warnings { return [ grep { !/retention-full' is not set/ } $_[0] =~ /^P\d+   WARN: (.*)/mg ] }

# --- a stopped cluster ---

$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$pg->psql('CREATE TABLE t AS SELECT generate_series(1, 1000) AS id');
$stanza->run_fail('stanza-create', '--no-online', '--pg1-path=/nowhere', { code => 55, like => qr{/nowhere/global/pg_control} });
$stanza->run_ok('stanza-create', '--no-online');
my $refused = $stanza->run_fail('backup', '--no-online', { code => 38, name => 'a server runs',
	like => qr/\[038\]: --no-online passed but postmaster\.pid exists - looks like PostgreSQL is running\. Shut down PostgreSQL and try again, or use --force\.\n/ });
is_deeply([ $stanza->labels ], [], 'no backup was made');
my $out = $stanza->run_ok('backup', '--no-online', '--force', '--type=full', { name => 'a server runs, force' });
is_deeply(warnings($out), [ '--no-online passed and postmaster.pid exists but --force was passed so backup will continue '
	. 'though it looks like PostgreSQL is running and the backup will probably not be consistent' ],
		'force is commented on');
$pg->stop;

my $before = snapshot($data, ignore => $left_out);
$out = $stanza->run_ok('backup', '--no-online', '--type=full', '--process-max=2', { name => 'the server is stopped',
	unlike => qr/execute backup|check archive|archive start/ });
my $offline = label_of($out);
my ($backup) = grep { $_->{label} eq $offline } @{$stanza->info("--set=$offline")->[0]{backup}};
is_deeply($backup->{archive}, { start => undef, stop => undef }, 'it needs no WAL');
ok(!exists $backup->{lsn}, 'it has no LSN');
is_deeply($backup->{'database-ref'}, [], 'it knows no databases');
$stanza->run_ok('info', "--set=$offline", { like => qr/wal start\/stop: n\/a\n.*database list: none\n/s });
my $manifest = slurp($stanza->path("repo/backup/demo/$offline/backup.manifest"));
like($manifest, qr/^option-online=false$/m, 'the manifest says so');
unlike($manifest, qr/^backup-(archive|lsn)-st/m, 'and has nothing about WAL');
like($manifest, qr{^pg_data/pg_wal/0000000100000000000000\w\w=}m, 'it holds pg_wal');
remove_tree($data);
$stanza->run_ok('restore', { like => qr/restore backup set \Q$offline\E\n/, unlike => qr/recovery will start/ });
same_tree($before, snapshot($data, ignore => $left_out), 'the restored tree is the source');
ok(!-e "$data/recovery.signal", 'without a recovery');
$pg->start;
is($pg->psql('SELECT count(*) FROM t'), 1000, 'it is a cluster with all its rows');

# --- WAL in the backup ---

$out = $stanza->run_ok('backup', '--type=full', '--archive-copy', '--compress-type=gz', { name => 'archive-copy' });
my $copied = label_of($out);
($backup) = grep { $_->{label} eq $copied } @{$stanza->info->[0]{backup}};
like($out, qr/^P00 DETAIL: copy segment $backup->{archive}{start} to backup$/m, 'the first segment is copied');
like($out, qr/^P00 DETAIL: copy segment $backup->{archive}{stop} to backup$/m, 'the last too');
ok(-e $stanza->path("repo/backup/demo/$copied/pg_data/pg_wal/$backup->{archive}{start}.gz"), 'compressed as the backup is');
$manifest = slurp($stanza->path("repo/backup/demo/$copied/backup.manifest"));
my ($row) = $manifest =~ m{^(pg_data/pg_wal/$backup->{archive}{start}=.*)}m;
like($row, qr/"checksum":"[0-9a-f]{40}".*"size":1048576,/, 'the manifest lists it');
unlike($row, qr/"rck"/, 'with the checksum of the archive only');
$pg->stop;
remove_tree($data);
rename $stanza->path('repo/archive/demo'), $stanza->path('repo/archive/lost') or die "rename: $!";
$stanza->run_ok('restore', '--type=none', "--set=$copied", { name => 'restore without the archive' });
$pg->start;
is($pg->psql('SELECT count(*) FROM t'), 1000, 'the server recovers from what is in the backup');
$pg->stop;
rename $stanza->path('repo/archive/lost'), $stanza->path('repo/archive/demo') or die "rename: $!";

# --- save points ---

sub save_points {
	my @options = @_;
	my $process = spawn_command([ $stanza->command('backup', '--no-online', '--type=full', @options) ]);
	my %seen;
	until (waitpid($process->{pid}, POSIX::WNOHANG())) {
		for my $copy (glob $stanza->path('repo/backup/demo/*F/backup.manifest.copy')) {
			my ($inode) = (stat $copy)[1] or next;
			$seen{"$inode $copy"} = 1 if !-e $copy =~ s/\.copy$//r;
		}
		sleep 0.002;
	}
	$process->{code} = $? >> 8;
	is($process->{code}, 0, "backup @options");
	return scalar keys %seen;
}
cmp_ok(save_points(), '<=', 4, 'a short backup saves its manifest at the begin and at the end');
cmp_ok(save_points('--manifest-save-threshold=1MiB'), '>', 4, 'and each time so much was copied');

# --- a small place, for everything that does not need a real cluster ---

my $small = work_dir() . '/small';
my @to = ('--no-online', "--pg1-path=$small");
make_path(map { "$small/$_" } qw(global base/1 pg_wal files));
cp("$data/$_", "$small/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'postgresql.conf';
my ($database) = glob "$data/base/[0-9]*";
cp("$database/$_", "$small/base/1/$_") or die "$_: $!" for 1259, 1247;
spew("$small/files/$_->[0]", $_->[1]) for [ empty => '' ], [ one => 'x' ], [ zeros => "\0" x 300000 ],
	[ random => join '', map { chr rand 256 } 1 .. 200000 ], map { [ "n$_" => "$_ " x $_ ] } 1 .. 40;
chmod 0700, $small;
chmod 0600, map { "$small/$_" } qw(PG_VERSION global/pg_control base/1/1259 base/1/1247 postgresql.conf);
my $small_tree = snapshot($small);
my %suffix = (none => '', gz => '.gz', lz4 => '.lz4', zst => '.zst', bz2 => '.bz2');

sub round_trip {
	my ($name, $type, @options) = @_;
	my $out = $stanza->run_ok('backup', '--type=full', @to, @options, { name => "$name: backup" });
	my $label = label_of($out);
	my $dir = $stanza->path("repo/backup/demo/$label");
	ok(-e "$dir/pg_data/files/n40$suffix{$type}", "$name: it is stored that way");
	rename $small, "$small.old" or die "rename: $!";
	$stanza->run_ok('restore', "--pg1-path=$small", "--set=$label", { name => "$name: restore" });
	same_tree($small_tree, snapshot($small), "$name: the same tree");
	remove_tree($small);
	rename "$small.old", $small or die "rename: $!";
	return (slurp("$dir/backup.manifest"), -s "$dir/pg_data/base/1/1259$suffix{$type}");
}

my (%size, $processes);
my @codecs = full_run() ? ([ gz => 0, 1, -1, 9 ], [ lz4 => -5, 0, 1, 12 ], [ zst => -7, 0, 3, 22 ], [ bz2 => 1, 9 ])
	: ([ gz => 1, 9 ], [ lz4 => -5, 12 ], [ zst => -7, 22 ], [ bz2 => 1 ]);
for my $case ([ 'none' ], @codecs) {
	my ($type, @levels) = @$case;
	for my $level (@levels ? @levels : undef) {
		my $process_max = 1 + $processes++ % 4;
		my $name = (defined $level ? "$type $level" : $type) . ", process-max $process_max";
		my ($text, $size) = round_trip($name, $type, "--compress-type=$type", "--process-max=$process_max", defined $level ? "--compress-level=$level" : ());
		like($text, qr/^option-compress-type="$type"$/m, "$name: the manifest tells the type");
		like($text, qr/^option-compress-level=$level$/m, "$name: and the level") if defined $level;
		push @{$size{$type}}, $size;
	}
	cmp_ok($size{$type}[-1], '<', $size{$type}[0], "$type: the highest level is stronger than the lowest")
		if @levels > 1 && $type ne 'bz2'; # its levels differ for larger files only
	cmp_ok($size{$type}[-1], '<', $size{none}[0], "$type: compresses") if @levels;
}
for my $type (keys %suffix) {
	next if $type eq 'none';
	$stanza->run_fail('backup', @to, "--compress-type=$type", '--compress-level=99', { code => 32 });
}

# --- notes ---

$out = $stanza->run_ok('backup', '--type=full', @to, '--annotation=key=value', '--annotation=a=b=c "d" \\',
	'--annotation=gone=',
	"--annotation=\xc3\xa9=\xe2\x82\xac", { name => 'annotations' });
($backup) = grep { $_->{label} eq label_of($out) } @{$stanza->info->[0]{backup}};
is_deeply($backup->{annotation}, { key => 'value', a => 'b=c "d" \\', "\x{e9}" => "\x{20ac}" }, 'are shown by info');
$stanza->run_ok('info', '--set=' . label_of($out),
	{ like => qr/\n            annotation\(s\)\n                a: b=c "d" \\\n                key: value\n                \xc3\xa9: \xe2\x82\xac\n/ });

# --- types and retention ---

$stanza->run_fail('backup', @to, '--type=nonsense', { code => 32 });
my @labels = $stanza->labels;
for my $type ('diff', 'incr', undef) {
	$stanza->run_fail('backup', @to, defined $type ? "--type=$type" : (), { code => 55,
		like => qr/last backup label = \Q$labels[-1]\E, .*\[055\]: no files have changed since the last backup - this seems unlikely\n/s });
}
is_deeply([ $stanza->labels ], \@labels, 'nothing was made of these');
for my $type ('diff', undef) {
	my $new = PgStrata::Stanza->new(id => 'new' . ($type // ''), cluster => $pg);
	$new->run_ok('stanza-create', @to, { name => 'a new stanza' });
	my $out = $new->run_ok('backup', @to, defined $type ? "--type=$type" : ());
	is_deeply(warnings($out), [ 'no prior backup exists, ' . ($type // 'incr') . ' backup has been changed to full' ], 'becomes full');
	like(label_of($out), qr/^\d{8}-\d{6}F$/, 'its label says so');
	is($new->info->[0]{backup}[0]{type}, 'full', 'and info');
}
my @about = $out =~ /WARN: (option 'repo1-retention-full' is not set.*)\n +(HINT: .*)/g;
is_deeply(\@about, [ "option 'repo1-retention-full' is not set for 'repo1-retention-full-type=count', the repository may run out of space",
	"HINT: to retain full backups indefinitely (without warning), set option 'repo1-retention-full' to the maximum." ],
	'that nothing ever expires is told once');
$out = $stanza->run_ok('backup', '--type=full', @to, '--repo1-retention-full=99', { name => 'with retention',
	unlike => qr/retention-full' is not set/, like => qr/expire command end: completed successfully/ });
is(scalar($stanza->labels), @labels + 1, 'there are not yet so many');

# --- the log file ---

my $log = $stanza->path('log/demo-backup.log');
unlink $log;
$stanza->run_ok('backup', '--type=full', @to, '--log-timestamp', '--log-level-console=off', { name => 'with a log file' });
my @lines = split /\n/, slurp($log);
is($lines[0], '-------------------PROCESS START-------------------', 'it begins with a banner');
like($lines[1], qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} P00   INFO: backup command begin \S+: .*--stanza=demo/, 'then the begin line');
like($lines[-1], qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} P00   INFO: backup command end: completed successfully \(\d+ms\)$/, 'at the end the end line');
is(scalar(grep { !/^(-{19}PROCESS START-{19}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} P\d\d ( INFO|  WARN|DETAIL| ERROR|  INFO): .*| {36}\S.*)$/ } @lines), 0,
	'all lines are of one form') or diag(grep { !/DETAIL/ } @lines);
ok((grep { /P01 DETAIL: backup file \Q$small\E\/files\/n40 \(120B, \d+\.\d\d%\) checksum [0-9a-f]{40}$/ } @lines), 'a line per file');
is(sprintf('%04o', (stat $log)[2] & 07777), '0640', 'the mode of the log file');
$stanza->run_fail('backup', '--type=nonsense', @to, { name => 'an error in options' });
$stanza->run_fail('backup', '--type=full', '--no-online', '--pg1-path=/nowhere', { code => 55 });
@lines = split /\n/, slurp($log);
is(scalar(grep { $_ eq '' } @lines), 1, 'runs are separated by an empty line');
like($lines[-2], qr/^P00  ERROR: \[055\]: /, 'an error has its code');
is($lines[-1], 'P00   INFO: backup command end: aborted with exception [055]', 'the end line too');

done_testing();
