# What of a data directory is in a backup: tablespaces, what links lead to, and nothing of what the server makes anew.
# The restored tree must be exactly what the rules of the format make of the source, with its modes and times.
use strict;
use warnings;
use Fcntl qw(:mode);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use POSIX ();
use Test::More;

my $outside = work_dir() . '/ext';
my @spaces = map { work_dir() . "/$_" } qw(s1 s2);
make_path("$outside/dir/sub", @spaces, { mode => 0700 });
my $pg = PgStrata::Cluster->new(wal_segsize => 1, initdb => [ "--waldir=$outside/wal" ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2,
	'compress-type' => 'zst' } });
my $data = $pg->data;
my ($version, @oids) = $pg->version;
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
$pg->psql($_) for map({ ("CREATE TABLESPACE s$_ LOCATION '$spaces[$_ - 1]'",
		"CREATE TABLE in_s$_ TABLESPACE s$_ AS SELECT generate_series(1, 1000) AS id") } 1, 2),
	'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id', 'CREATE UNLOGGED TABLE u AS SELECT * FROM t',
	'CREATE UNLOGGED TABLE us TABLESPACE s1 AS SELECT * FROM t', 'CHECKPOINT';
@oids = split /\n/, $pg->psql("SELECT oid FROM pg_tablespace WHERE spcname ~ '^s[12]' ORDER BY spcname");
my ($folder) = map { s{.*/}{}r } glob "$spaces[0]/PG_*";

# --- what the rules look at ---

sub fill {
	my ($dir, @names) = @_;
	for my $name (@names) {
		my ($parent) = "$dir/$name" =~ m{^(.*)/};
		make_path($parent);
		spew("$dir/$name", "$name of $dir");
		utime 1e9, 1e9 + length $name, "$dir/$name";
	}
}

my @emptied = qw(pg_dynshmem pg_notify pg_replslot pg_serial pg_snapshots pg_stat_tmp pg_subtrans);
fill($data, map({ "$_/left_out" } @emptied), 'pg_replslot/slot/state');
fill($data, qw(backup_label.old postgresql.auto.conf.tmp recovery.done recovery.conf backup_manifest
	backup_manifest.tmp pgsql_tmp.x more/pgsql_tmp/x more/pgsql_tmpx more/pgsql/tmp more/postmaster.pid more/recovery.signal
	more/pg_notify/x pg_wal/summaries/x pg_wal/archive_status/x.done));
for my $dir ('base/1', 'global', "pg_tblspc/$oids[0]/$folder/1", 'base/1/sub', 'more') {
	fill($data, map { "$dir/$_" } qw(pg_internal.init pg_internal.init.12 pg_internal.init.x t1_2 t1_2.3 t1_2_fsm t1_2_vm.4
		t1_2_init tt1_2 t1_ t_2 77777 77777.1 77777_fsm 77777_vm.2 77777_init 77777_init.1 777779 77777x 7777 88888 88888_vm
		_init x_init pgsql_tmp1.2));
}
fill($data, map { "base/$_" } qw(pg_internal.init t1_2 t1_2_vm.4 x_init pgsql_tmp1.2));
fill("$outside/dir", qw(a sub/b pgsql_tmp));
fill($outside, qw(file twin));
fill($_, 'PG_9.6_201608131/1/2') for @spaces;
symlink "$outside/dir", "$data/linked" or die;
symlink '../../ext/file', "$data/more/file" or die;
symlink "$outside/twin", "$data/more/twin" or die;
fill($data, qw(excluded/a kept_dir/a kept_dir/sub/b excluded_file more/excluded_file));
my @exclude = map { "--exclude=$_" } qw(excluded excluded_file kept_dir/ nothing base/1/sub/t1_ pg_log/ more/pgsql/);
make_path("$data/empty/empty");
chmod 0750, "$data/empty";
chmod 0711, "$data/empty/empty";
chmod 0640, "$data/more/pg_notify/x";

my $database = qr{base/\d+|global|pg_tblspc/\d+/\Q$folder\E/\d+};
my $emptied = join '|', @emptied;
sub is_left_out {
	my ($name, $online, $tree) = @_;
	return 1 if $name =~ m{(^|/)pgsql_tmp} || $name =~ m{^($emptied)/};
	return 1 if $online && $name =~ m{^pg_wal/(archive_status/|[^/]+\z)} && $tree->{$name} =~ /^f|^pg_wal\/archive_status/;
	return 1 if $name =~ /^(backup_label(\.old)?|postmaster\.(opts|pid)|postgresql\.auto\.conf\.tmp|(recovery|standby)\.signal)\z/;
	return 1 if $name =~ ($version < 12 ? qr/^recovery\.(conf|done)\z/ : qr/^backup_manifest(\.tmp)?\z/);
	return 1 if $name =~ m{^$database/(pg_internal\.init(\.\d+)?|t\d+_\d+(_(fsm|vm))?(\.\d+)?)\z};
	return 1 if $name =~ m{^($database/\d+)(_(fsm|vm))?(\.\d+)?\z} && exists $tree->{"$1_init"};
	return 0;
}

# The tree as a backup sees it: links followed, tablespaces below their link.
sub seen {
	my ($dir, $prefix) = @_;
	my %tree;
	for my $name (grep { $_ ne '.' && $_ ne '..' } map { s{.*/}{}r } glob(shell_glob($dir))) {
		my @status = stat "$dir/$name" or next;
		my $key = ($prefix // '') . $name;
		my $mode = sprintf '%04o', S_IMODE($status[2]);
		$tree{$key} = S_ISDIR($status[2]) ? "d $mode" : S_ISREG($status[2])
			? "f $mode $status[7] $status[9] " . Digest::SHA->new(1)->addfile("$dir/$name", 'b')->hexdigest : "special";
		%tree = (%tree, seen("$dir/$name", "$key/")) if S_ISDIR($status[2]);
	}
	return %tree;
}
sub shell_glob { my ($dir) = @_; return "$dir/* $dir/.*" }

sub expected {
	my ($online) = @_;
	my %tree = seen($data);
	for my $name (keys %tree) {
		delete $tree{$name} if is_left_out($name, $online, \%tree) || $tree{$name} eq 'special'
			|| $name =~ m{^(excluded(/|\z)|excluded_file\z|kept_dir/|base/1/sub/t1_\z|more/pgsql/)};
	}
	return \%tree;
}

sub wipe {
	remove_tree($data, map { "$_/$folder" } @spaces);
	unlink "$data/$_" for qw(linked more/file);
}

# --- offline: byte for byte ---

$pg->stop;
POSIX::mkfifo("$data/more/pipe", 0600) or die "mkfifo: $!";
my $expected = expected(0);
my $surroundings = snapshot($outside);
ok(exists $expected->{$_}, "$_ is expected") for 'linked/sub/b', 'more/file', "pg_tblspc/$oids[1]/$folder",
	"pg_tblspc/$oids[0]/PG_9.6_201608131/1/2", 'pg_wal/summaries/x', 'base/1/77777_init.1', 'base/1/sub/77777';
delete $expected->{$_} for grep { m{^pg_tblspc/\d+/PG_9} } keys %$expected;
my $out = $stanza->run_ok('backup', '--type=full', '--no-online', @exclude, { name => 'offline backup',
	like => qr/WARN: exclude special file '\Q$data\E\/more\/pipe' from backup/ });
like($out, qr/INFO: exclude '\Q$data\E\/excluded' from backup using 'excluded' exclusion/, 'exclusion of a name is told');
like($out, qr/INFO: exclude contents of '\Q$data\E\/kept_dir' from backup using 'kept_dir\/' exclusion/,
	'exclusion of contents is told');
unlike($out, qr/using '(nothing|pg_log\/)' exclusion/, 'an exclusion without effect is not');
my ($label) = $out =~ /new backup label = (\S+)/;
my %stored = map { (s/\.zst$//r, 1) } grep { /^pg_/ } keys %{snapshot($stanza->path("repo/backup/demo/$label"))};
ok(!exists $stored{'pg_data/base/1/77777'} && $stored{'pg_data/base/1/77777_init'}, 'what is left out is not stored');

wipe();
my $restored = $stanza->run_ok('restore', { name => 'restore', like =>
	qr/WARN: file link 'more\/file' will be restored as a file at the same location/ });
like($restored, qr/WARN: contents of directory link '$_' will be restored in a directory at the same location/,
	"the link $_ is told of") for 'linked', 'pg_wal';
sub found { my %tree = seen($data); delete $tree{$_} for grep { m{^pg_tblspc/\d+/PG_9} } keys %tree; return \%tree }
same_tree($expected, found(), 'the tree is what the rules say, with modes and times');
same_tree($surroundings, snapshot($outside), 'what links led to is not touched');
is(readlink "$data/pg_tblspc/$oids[$_]", $spaces[$_], "tablespace link $_") for 0, 1;
ok(!-l "$data/$_", "$_ is no link any more") for qw(linked pg_wal more/file);
ok(-e "$spaces[0]/PG_9.6_201608131/1/2", 'the other cluster\'s part of a tablespace is left alone');
$stanza->run_ok('restore', '--delta', { name => 'restore over it' });
same_tree($expected, found(), 'delta leads to the same tree');

# --- online: with a temporary table and without WAL ---

unlink "$data/recovery.conf";
$pg->start;
my $session = spawn_command([ $pg->bin('psql'), qw(-XAtq -U postgres -d postgres -h), $pg->socket_dir, '-p', $pg->port,
	'-c', 'CREATE TEMP TABLE tmp AS SELECT * FROM t', '-c', 'CHECKPOINT', '-c', 'SELECT pg_sleep(600)' ]);
ok(wait_until(sub { grep { m{/t\d+_\d+$} } glob "$data/base/*/t*_*" }), 'there is a temporary table');
my $unlogged = $pg->psql("SELECT pg_relation_filepath('u')");
$stanza->run_ok('backup', '--type=full', @exclude, { name => 'online backup' });
kill 'TERM', -$session->{pid};
reap($session);
$pg->stop;
wipe();
$stanza->run_ok('restore', { name => 'restore of it' });
my %tree = seen($data);
is(join(' ', grep { is_left_out($_, 1, \%tree) && !/^(backup_label|recovery.signal)$/ } sort keys %tree), '',
	'nothing is there that the rules leave out');
ok(!exists $tree{$unlogged} && exists $tree{"${unlogged}_init"}, 'of the unlogged table there is the init fork');
is(join(' ', sort grep { $_ eq 'pg_wal' || m{^pg_wal/} } keys %tree), 'pg_wal pg_wal/archive_status pg_wal/summaries pg_wal/summaries/x',
	'pg_wal has its directories');
ok(-d "$data/$_", "$_ is there, empty") for @emptied;
$pg->start;
$pg->wait_for_recovery_end;
is($pg->psql('SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM in_s1), (SELECT count(*) FROM in_s2), '
	. '(SELECT count(*) FROM u), (SELECT count(*) FROM us)'), '1000|1000|1000|0|0', 'the server has all its rows');
is_deeply([ split /\n/, $pg->psql('SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 2000 ORDER BY oid') ],
	\@spaces, 'and its tablespaces');

# --- links that are refused ---

make_path("$outside/d/below");
symlink "$outside/dir", "$outside/chain" or die;
POSIX::mkfifo("$outside/pipe", 0600) or die;
my @refused = (
	[ 'a link to a link', 70, qr/link '\Q$data\E\/x' cannot reference another link '\Q$outside\E\/chain'/, x => "$outside/chain" ],
	[ 'a link to the data directory', 70, qr/link '\Q$data\E\/x' destination '\Q$data\E' is in PGDATA/, x => $data ],
	[ 'a link into the data directory', 70, qr/destination '\Q$data\E\/base' is in PGDATA/, x => 'base' ],
	[ 'a roundabout link into the data directory', 70, qr/is in PGDATA/, x => "$outside/../main/base" ],
	[ 'two links to one directory', 70, qr/is the same as, or overlaps/, x => "$outside/d", y => "$outside/d/" ],
	[ 'a link below another link\'s directory', 70, qr/overlaps/, x => "$outside/d", y => "$outside/d/below" ],
	[ 'a link above another link\'s directory', 70, qr/overlaps/, x => "$outside/d/below", y => "$outside/d" ],
	[ 'two links to one file', 70, qr/overlaps/, x => "$outside/file", y => "$outside/dir/../file" ],
	[ 'a link to a tablespace', 70, qr/overlaps/, x => $spaces[0] ],
	[ 'a link above the data directory', 70, qr/overlaps|PGDATA/, x => work_dir() ],
	[ 'a link to a pipe', 70, qr/leads to a special file/, x => "$outside/pipe" ],
	[ 'a dangling link', 41, qr/unable to get info for missing path\/file '\/nowhere'/, x => '/nowhere' ],
	[ 'a tablespace in the data directory', 70, qr/is in PGDATA/, 'pg_tblspc/99999' => "$data/more" ],
	[ 'a tablespace that is a link to a link', 70, qr/cannot reference another link/, 'pg_tblspc/99999' => "$outside/chain" ],
	[ 'a link in pg_tblspc without an oid', 69, qr/'\Q$data\E\/pg_tblspc\/name'/, 'pg_tblspc/name' => "$outside/d" ],
);
for my $case (@refused) {
	my ($name, $code, $like, %links) = @$case;
	symlink $links{$_}, "$data/$_" or die "$_: $!" for keys %links;
	$stanza->run_fail('backup', '--type=full', { code => $code, like => $like, name => $name });
	$stanza->run_fail('check', { code => $code, like => $like, name => "$name: check" });
	unlink map { "$data/$_" } keys %links;
}
spew("$data/pg_tblspc/99999");
$stanza->run_fail('backup', '--type=full', { code => 69, name => 'a file in pg_tblspc',
	like => qr/'\Q$data\E\/pg_tblspc\/99999' is not a symlink - pg_tblspc should contain only symlinks/ });
unlink "$data/pg_tblspc/99999";
mkdir "$data/pg_tblspc/99999";
$stanza->run_fail('check', { code => 69, name => 'a directory in pg_tblspc', like => qr/is not a symlink/ });
rmdir "$data/pg_tblspc/99999";
symlink "$outside/d", "$data/x";
symlink "$outside/file", "$data/y";
symlink "$outside/twin", "$data/z";
$stanza->run_ok('check', { name => 'other links are fine' });

done_testing();
