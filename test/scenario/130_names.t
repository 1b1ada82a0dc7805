# Names: of files, directories, tablespaces, stanzas and the data directory itself.  Whatever a file system allows
# comes back byte for byte; the line feed, which repository format 5 cannot hold, is refused before anything is copied.
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

# What a backup leaves out, and what a stopped server makes anew.
my $left_out = qr{^(postmaster\.(opts|pid)$|backup_label\.old$|(pg_dynshmem|pg_notify|pg_replslot|pg_serial|pg_snapshots|pg_stat_tmp|pg_subtrans)/.
	|(.*/)?pg_internal\.init|pgsql_tmp)}x;
my @odd = ('a b', ' leading', 'trailing ', 'a=b', '=', '[section]',
	'[', '#comment', ';comment', q('), q("), q(it's "so"),
	'back\\slash', 'back\\nslash', '\\', "tab\tbed", "\r", "cr\r", "\x01\x1b[31m\x7f", "\xff\xfe\x80", "caf\xc3\xa9", '%p', '%%', '$HOME',
	'`id`', '{"size":1}', 'true', 'x', 'x.gz', 'x.zst', 'x.pgbi', 'x.pgbackrest.tmp', '-rf', '*',
		'~', '...', 'pg_data', 'pg_tblspc',
	'target:file', 'backup.manifest.copy', '0', 'y' x 240);

# --- a data directory, a tablespace and a repository with odd names; the server is started without pg_ctl, whose
# shell does not understand such names ---

my $name = qq(d =[a]#;'"\\\$x\xff);
my $pg = PgStrata::Cluster->new(name => 'odd', data => work_dir() . '/plain', wal_segsize => 1);
my $data = work_dir() . "/$name";
my $space = work_dir() . qq(/s =[b]#;"\\\xc3\xa9);
mkdir $space, 0700 or die "mkdir: $!";
rename $pg->data, $data or die "rename: $!";
$pg->{data} = $data;
my $stanza = PgStrata::Stanza->new(id => q(c #1; 'x' "y" [z]=%p$), name => q(Demo.2 #x; =y 'z'), cluster => $pg,
	options => { global => { 'process-max' => 2, 'compress-type' => 'zst' } });
$pg->archive_to($stanza);

my $server;
sub start {
	$server = spawn_command([ $pg->bin('postgres'), '-D', $data, '-p', $pg->port, '-k', $pg->socket_dir ]);
	return $pg->wait_sql('SELECT 1', 1, 15);
}
sub stop {
	kill 'INT', $server->{pid};
	return reap($server, 60);
}

ok(start(), 'PostgreSQL runs') or diag((reap($server, 1))[1]);
$pg->psql(q(CREATE TABLESPACE "s p '""" LOCATION ') . $space . q('));
$pg->psql($_) for q(CREATE DATABASE "d b '""#"), 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id',
	q(CREATE TABLE in_space TABLESPACE "s p '""" AS SELECT generate_series(1, 1000) AS id);
make_path("$data/names");
for my $odd (@odd) {
	spew("$data/names/$odd.f", "content of $odd");
	make_path("$data/names/dirs/$odd");
	spew("$data/names/dirs/$odd/$odd", "content of $odd");
	spew("$data/base/4/$odd", "content of $odd" x 10);
}
$stanza->run_ok('stanza-create', { name => 'stanza-create' });
$stanza->run_ok('check', { name => 'check', like => qr{archived to '\Q@{[$stanza->path('repo')]}\E/archive/Demo\.2 #x; =y 'z'/} });
my ($label) = $stanza->run_ok('backup', '--type=full', { name => 'online backup' }) =~ /new backup label = (\S+)/;
my $info = $stanza->info("--set=$label")->[0];
is($info->{name}, $stanza->name, 'info names the stanza');
is($info->{backup}[0]{tablespace}[0]{name}, q(s p '"), 'info names the tablespace');
is_deeply([ map { $_->{name} } @{$info->{backup}[0]{'database-ref'}} ], [ q(d b '"#), 'postgres' ], 'and the databases');
$pg->psql('INSERT INTO t SELECT 1001');
ok($pg->wait_archived($pg->switch_wal), 'a row after the backup is archived');
stop();

sub below { my ($prefix, $tree) = @_; return map { ("$prefix$_" => $tree->{$_}) } keys %$tree }
sub trees { return { below('', snapshot($data, ignore => $left_out)), below('SPACE/', snapshot($space)) } }
sub wipe { remove_tree($data, $space) }

my $query = 'SELECT count(*), sum(t.id), sum(s.id) FROM t LEFT JOIN in_space s ON s.id = t.id';
my %odd_files = map { $_ => 1 } grep { m{^(names|base/4/\D)} } keys %{trees()};
my $before = trees();
wipe();
$stanza->run_ok('restore', { name => 'restore of the online backup' });
my $after = trees();
is(scalar(grep { ($before->{$_} // '') ne ($after->{$_} // '') } keys %odd_files), 0, 'all odd names are back');
is($after->{'pg_tblspc'}, $before->{'pg_tblspc'}, 'so is pg_tblspc');
like(slurp("$data/postgresql.auto.conf"), qr/^restore_command = '.*''z''.*'$/m, 'quotes in settings are doubled');
ok(start(), 'PostgreSQL runs again') or diag((reap($server, 1))[1]);
$pg->wait_for_recovery_end;
is($pg->psql($query), '1001|501501|500500', 'all rows are there, the archived one too');
is(join(' ', sort split /\n/, $pg->psql('SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 2000')), $space,
	'the tablespace is where it was');
stop();

# --- offline, byte for byte, compressed and not ---

for my $type (qw(none gz)) {
	$before = trees();
	$stanza->run_ok('backup', '--type=full', '--no-online', "--compress-type=$type", { name => "offline backup, $type" });
	wipe();
	$stanza->run_ok('restore', { name => "restore, $type" });
	same_tree($before, trees(), "the tree is the same, $type");
}

# --- the line feed ---

sub refused {
	my ($what, $message) = @_;
	my $repository = snapshot($stanza->path('repo'));
	$stanza->run_fail('backup', '--type=full', '--no-online',
		{ code => 29, like => qr/\[029\].*$message/, name => "$what: backup refuses" });
	same_tree($repository, snapshot($stanza->path('repo')), "$what: nothing was copied");
}

my @bad = ("names/a\nb", "base/1/\n", "pg_wal/x\n", "names/dirs/x/d\n/f");
for my $bad (@bad) {
	(my $shown = $bad) =~ s/\n/\\n/g;
	make_path("$data/" . ($bad =~ s{/[^/]*$}{}r));
	spew("$data/$bad", 'x');
	refused("file '$shown'", q(the name of a file in '.*' contains a line feed));
	unlink "$data/$bad";
}
remove_tree("$data/names/dirs/x");
symlink "/nowhere\n", "$data/names/link" or die "symlink: $!";
refused('a link\'s destination', q(the destination of link '.*/names/link' contains a line feed));
unlink "$data/names/link";

ok(start(), 'PostgreSQL runs for check') or diag((reap($server, 1))[1]);
spew("$data/names/a\nb", 'x');
$stanza->run_fail('check', { code => 29, like => qr/contains a line feed.*HINT: rename or remove/s, name => 'check sees it too' });
$stanza->run_fail('backup', '--type=full', { code => 29, name => 'an online backup refuses it' });
is($pg->psql('SELECT count(*) FROM pg_stat_activity WHERE query ~ \'backup\' AND pid <> pg_backend_pid()'), '0',
	'and leaves no session behind');
unlink "$data/names/a\nb";
$stanza->run_ok('check', { name => 'without it all is well' });
stop();

# --- names that cannot be a stanza's ---

for my $bad ('a/b', '..', "a\nb", '') {
	(my $shown = $bad) =~ s/\n/\\n/g;
	my ($code, $out) = run_command([ program(), '--config=' . $stanza->config_file, "--stanza=$bad", '--pg1-path=' . $data,
		'--repo1-path=' . $stanza->path('repo'), 'stanza-create', '--no-online' ]);
	ok($code != 0 && $code < 125, "stanza '$shown' is refused") or diag($out);
}

done_testing();
