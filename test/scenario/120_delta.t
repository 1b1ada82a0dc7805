# Restore into a place that is not empty: refused unless it is asked for, and with --delta it leads from any state of the
# directory to exactly the tree that a restore into an empty place makes, without touching what is right already.
# A restore that was killed leaves a directory that no server starts from, and --delta goes on from there.
use strict;
use warnings;
use Fcntl qw(:mode);
use File::Find ();
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;
use Time::HiRes qw(sleep time utime);

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2 } });
my ($data, $space, $outside) = ($pg->data, map { work_dir() . "/$_" } qw(space outside));
my ($folder, $fresh, $table);

mkdir $_, 0700 or die "mkdir $_: $!" for $space, $outside;
spew("$outside/file", 'not ours');
$pg->archive_to($stanza);
$pg->start;
$pg->psql($_) for "CREATE TABLESPACE s LOCATION '$space'", 'CREATE TABLE t AS SELECT generate_series(1, 5000) AS id',
	'CREATE TABLE in_space TABLESPACE s AS SELECT generate_series(1, 5000) AS id';
$pg->drop_templates;
$table = $pg->psql("SELECT pg_relation_filepath('t')");
my ($base) = $table =~ m{^(base/\d+)/};
my $space_table = $pg->psql("SELECT pg_relation_filepath('in_space')");
($folder) = $space_table =~ m{^pg_tblspc/\d+/([^/]+)/} or die "no folder in $space_table\n";
my ($link) = $space_table =~ m{^(pg_tblspc/\d+)/};
make_path("$data/more/empty", "$data/more/full");
spew("$data/more/full/$_", "$_ " x 3000) for qw(a b c);
spew("$data/more/zero");
chmod 0400, "$data/more/full/a";
$stanza->run_ok('stanza-create');
$stanza->run_ok('backup', '--type=full');
$pg->psql('CHECKPOINT');

sub trees { return { %{snapshot($data)}, map { ("SPACE/$_->[0]" => $_->[1]) } each_entry(snapshot($space)) } }
sub each_entry { my ($tree) = @_; return map { [ $_ => $tree->{$_} ] } keys %$tree }

# Inode and time of all files: what was touched shows here.
sub identities {
	my %found;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my @status = lstat $File::Find::name or return;
		$found{$File::Find::name} = "$status[1] $status[9]" if S_ISREG($status[2]);
	} }, $data, "$space/$folder");
	return \%found;
}

sub wipe { remove_tree($data, "$space/$folder") }

sub restore { return $stanza->run_ok('restore', '--type=none', @_) }

# --- what is refused ---

$stanza->run_fail('restore', '--delta',
	{ code => 38, like => qr/unable to restore while PostgreSQL is running.*postmaster\.pid/s, name => 'a server runs' });
$pg->stop;
my $stopped = trees();
$stanza->run_fail('restore', { code => 40, name => 'not empty',
	like => qr/unable to restore to path '\Q$data\E' because it contains files.*try using --delta/s });
same_tree($stopped, trees(), 'nothing was changed');

remove_tree($data);
$stanza->run_fail('restore', { code => 40, like => qr/path '\Q$space\/$folder\E' because it contains files/,
	name => 'only a tablespace is not empty' });
ok(!-e $data, 'nothing was made');

mkdir $data, 0700;
spew("$data/letter", 'dear');
for my $option ('--delta', '--force') {
	$stanza->run_fail('restore', $option, { code => 40, name => "$option without PG_VERSION",
		like => qr/WARN: --delta or --force specified but unable to find 'PG_VERSION'.*have been disabled/s });
}
is(join(' ', sort keys %{snapshot($data)}), '. letter', 'no file was touched');

wipe();
spew($data, 'a file');
$stanza->run_fail('restore', { name => 'the data directory is a file' });
is(slurp($data), 'a file', 'it is left alone');
unlink $data;

# --- the tree that all others must become ---

make_path("$space/PG_9.6_201608131/1");
spew("$space/PG_9.6_201608131/1/1", 'of another cluster');
restore({ name => 'restore into an empty place' });
$fresh = trees();
ok(exists $fresh->{"SPACE/$folder"}, 'the tablespace is back');
ok(!exists $fresh->{'backup.manifest'}, 'nothing of the restore stays');
my @modes = map { sprintf '%04o', S_IMODE((stat)[2]) } $data, "$data/more/full/a", "$data/global/pg_control";
is("@modes", '0700 0400 0600', 'modes are restored');

sub replace {
	my ($path, $content) = @_;
	unlink $path;
	spew($path, $content);
}

# Change the bytes and nothing that stat shows.
sub change_secretly {
	my ($path) = @_;
	my ($mode, $atime, $mtime) = (stat $path)[2, 8, 9];
	chmod 0600, $path;
	flip_bit($path, 100, 3);
	utime $atime, $mtime, $path;
	chmod S_IMODE($mode), $path;
}

my @bent = (
	[ 'nothing at all', sub { } ],
	[ 'other bytes, same size and time', sub { change_secretly("$_") for "$data/$table", "$data/$space_table" },
		$table, $space_table ],
	[ 'longer, shorter, empty, not empty', sub {
		spew("$data/$table", slurp("$data/$table") . 'x');
		truncate_file("$data/more/full/b", 100);
		truncate_file("$data/more/full/c", 0);
		spew("$data/more/zero", 'content');
	}, $table, map { "more/$_" } qw(full/b full/c zero) ],
	[ 'wrong time', sub { utime 1, 1, "$data/$table" } ],
	[ 'missing files and directories', sub {
		unlink "$data/$table", "$data/PG_VERSION" or die;
		spew("$data/backup.manifest");
		remove_tree("$data/more", "$data/global");
	}, $table, 'PG_VERSION', grep { m{^(more|global)/} } keys %$fresh ],
	[ 'files and directories too many', sub {
		spew("$data/$_", 'x') for "$base/99999", qw(recovery.signal standby.signal backup_label.old postmaster.opts
			more/empty/x global/pg_control.pgbackrest.tmp pg_wal/000000010000000000000001);
		make_path("$data/a/b/c", "$space/$folder/777");
		spew("$data/$link/$folder/777/1", 'x');
		chmod 0, "$data/a/b";
	} ],
	[ 'files that are directories, links, pipes', sub {
		my @files = ("$data/$table", "$data/more/full/b", "$data/more/full/c", "$data/more/zero");
		unlink $_ or die "$_: $!" for @files;
		make_path("$files[0]/sub");
		spew("$files[0]/sub/x", 'x');
		symlink "$outside/file", $files[1];
		POSIX::mkfifo($files[2], 0600) or die;
		symlink 'nowhere', $files[3];
	}, $table, map { "more/$_" } qw(full/b full/c zero) ],
	[ 'directories that are files, links, pipes', sub {
		remove_tree("$data/more/full", "$data/more/empty", "$data/pg_wal", "$data/pg_xact");
		symlink $outside, "$data/more/full";
		spew("$data/more/empty", 'x');
		POSIX::mkfifo("$data/pg_wal", 0600) or die;
		symlink $outside, "$data/pg_xact";
	}, grep { m{^(more/full|pg_xact)/} } keys %$fresh ],
	[ 'wrong modes', sub {
		chmod 0644, "$data/$table";
		chmod 0777, "$data/base", "$data/$link/$folder", $data;
		chmod 0, "$data/more/zero", "$data/more/full/b", "$data/PG_VERSION", "$data/more/empty", "$data/$base";
		chmod 0500, "$data/more/full";
	} ],
	[ 'a file that is not writable has other bytes', sub {
		change_secretly("$data/more/full/a");
		change_secretly("$data/more/full/b");
		chmod 0, "$data/more/full/b";
	}, map { "more/full/$_" } qw(a b) ],
	[ 'a file has a second name elsewhere', sub {
		unlink "$outside/twin";
		unlink "$data/$table";
		spew("$outside/twin", 'also not ours');
		link "$outside/twin", "$data/$table" or die;
	}, $table ],
	[ 'the tablespace\'s link leads elsewhere', sub {
		unlink "$data/$link" or die;
		symlink $outside, "$data/$link";
		spew("$space/$folder/stranger", 'x');
	} ],
	[ 'the tablespace\'s link is missing', sub {
		unlink "$data/$link" or die;
		spew("$space/$folder/stranger", 'x');
		change_secretly("$space/$folder" . ($space_table =~ s{^.*?\Q$folder\E}{}r));
	}, $space_table ],
	[ 'the tablespace\'s link is a directory', sub {
		unlink "$data/$link" or die;
		make_path("$data/$link/$folder/5");
		spew("$data/$link/$folder/5/1", 'x');
	} ],
	[ 'pg_tblspc is missing', sub { remove_tree("$data/pg_tblspc") } ],
	[ 'pg_tblspc is a link', sub {
		remove_tree("$data/pg_tblspc");
		symlink $outside, "$data/pg_tblspc";
	} ],
	[ 'the tablespace\'s folder is missing', sub { remove_tree("$space/$folder") },
		grep { m{^\Q$space\E} } map { s{^SPACE}{$space}r } keys %$fresh ],
	[ 'the tablespace\'s folder is a link', sub {
		remove_tree("$space/$folder");
		symlink $outside, "$space/$folder" or die;
	}, grep { m{^\Q$space\E} } map { s{^SPACE}{$space}r } keys %$fresh ],
	[ 'names from the hell', sub {
		for my $name ("\xff\xfe", ' ', '-rf', '*', "'\"\\", 'x' x 255) {
			spew("$data/$name", 'x');
			make_path("$data/base/d$name") if length $name < 255;
		}
		make_path("$data/a/b\nc/d");
	} ],
);

my $surroundings = snapshot($outside);
for my $case (@bent) {
	my ($name, $bend, @rewritten) = @$case;
	my $before = identities();
	$bend->();
	$surroundings = snapshot($outside);
	restore('--delta', { name => "$name: delta" });
	same_tree($fresh, trees(), "$name: the tree is as a fresh one") or last;
	same_tree($surroundings, snapshot($outside), "$name: nothing else was touched");
	my $after = identities();
	my %may = map { (m{^/} ? $_ : m{^\Q$link\E/(.*)} ? "$space/$1" : "$data/$_") => 1 } @rewritten,
		'global/pg_control';
	my @touched = grep { !$may{$_} && ($before->{$_} // '') ne ($after->{$_} // '') } sort keys %$after;
	is("@touched[0 .. ($#touched > 9 ? 9 : $#touched)]", '', "$name: what was right is the same file as before");
}

spew("$data/more/a\nb");
$stanza->run_fail('restore', '--delta', { code => 29, name => 'a name that cannot be handled',
	like => qr/the name of a file in '\Q$data\E\/more' contains a line feed.*HINT: remove the file/s });
ok(!-e "$data/global/pg_control", 'stops before the cluster can be started');
unlink "$data/more/a\nb";
restore('--delta', { name => 'without it the restore goes on' });
same_tree($fresh, trees(), 'and completes');

# --- by size and time ---

change_secretly("$data/$base/1255");
utime 1, 1, "$data/$base/1259";
my $out = restore('--delta', '--force', { name => 'delta by size and time' });
my %different = map { (split /:/)[0] => 1 } tree_diff($fresh, trees());
is(join(' ', sort keys %different), "$base/1255", 'a secret change is believed');
like($out, qr{restore file \S+/$base/1249 - exists and matches size \d+ and modification time \d+ \(},
	'the log says what was compared');
like($out, qr{restore file \S+/$base/1259 \(}, 'another time is not');
$out = restore('--force', { name => 'force alone' });
same_tree($fresh, trees(), 'force without delta copies all files');
unlike($out, qr/ - exists and matches/, 'it keeps none');

# --- killed ---

sub finished { my ($code) = reap($_[0]); return $code == 0 }

# Workers that end a moment later still hold the lock: as for any other process, the next run may have to wait.
sub restore_again {
	my ($name) = @_;
	my @result;
	wait_until(sub { @result = $stanza->run('restore', '--type=none', '--delta'); $result[0] != 50 });
	return ok($result[0] == 0, $name) || diag(@result);
}

my $seed = $ENV{SEED} // int rand 1e9;
my $rounds = $ENV{ROUNDS} // (deep_run() ? 400 : 20);
note "SEED=$seed";
srand $seed;
wipe();
my $begin = time;
restore({ name => 'how long does it take' });
my $duration = time - $begin;
my ($killed, $refused) = (0, 0);
for my $round (1 .. $rounds) {
	my $from = rand() < 0.5 ? 'nothing' : 'a finished restore';
	if ($from eq 'nothing') {
		wipe();
	} else {
		spew("$data/$base/$_", 'x' x 8192) for 1255, 1259, 88888;
	}
	my $after = rand($duration);
	my $process = spawn_command([ $stanza->command('restore', '--type=none', $from eq 'nothing' ? () : '--delta') ]);
	sleep $after;
	kill 'KILL', $process->{pid};
	my $name = sprintf 'round %d, killed after %.3f s, from %s', $round, $after, $from;
	if (finished($process)) {
		$duration *= 0.8; # faster than it was: the next kill comes earlier
	} else {
		$killed++;
		my $begun = -e "$data/backup.manifest";
		ok(!-e "$data/global/pg_control", "$name: no pg_control") if $begun;
		if ($begun && $refused++ < 3) {
			ok(!$pg->start(may_fail => 1), "$name: the server refuses to start");
			unlink "$data/postmaster.pid";
		}
	}
	restore_again("$name: restored again") && same_tree($fresh, trees(), "$name: the tree is as a fresh one") or last;
}
cmp_ok($killed, '>=', $rounds / 4, 'enough of the kills hit');

done_testing();
