# Whatever happened to a restored directory, restore --delta leads back to the tree that a fresh restore makes: random
# changes of bytes, sizes, times, modes, names and types, links and hard links, in rounds.  What was right before is
# the same file afterwards, and nothing outside of the restored places changes, though links lead there.
use strict;
use warnings;
use Digest::SHA;
use Fcntl qw(:mode);
use File::Copy qw(cp);
use File::Find ();
no warnings 'File::Find'; # about directories that are closed to us
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my $seed = $ENV{SEED} // int rand 1e9;
my $rounds = $ENV{ROUNDS} // (deep_run() ? 3000 : full_run() ? 200 : 60);
my $changes_each = 12;
srand $seed;

# --- a small data directory with a tablespace and a link, and what lies beside it ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2, 'log-level-file' => 'off' } });
my ($data, $space, $ext, $outside) = map { work_dir() . "/$_" } qw(data space ext outside);
my $folder = $pg->version_folder;
make_path(map { "$data/$_" } qw(global base/1 base/5 pg_wal/archive_status pg_xact pg_tblspc more/deep/er/est more/empty));
make_path("$space/$folder/5", "$space/PG_9.6_201608131/1", "$ext/sub/empty", "$outside/dir/sub");
cp($pg->data . "/$_", "$data/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259', 'base/1/1247';
spew($_, random_bytes()) for map({ "$data/base/5/$_" } 1 .. 8), map({ "$data/more/deep/er/$_" } 'a' .. 'd'),
	map({ "$space/$folder/5/$_" } 1 .. 4), map({ "$ext/sub/$_" } 1 .. 3), "$data/pg_xact/0000",
	"$space/PG_9.6_201608131/1/1", "$outside/file", map { "$outside/dir/$_" } 'a', 'b', 'sub/c';
spew("$data/postgresql.auto.conf", "work_mem = '8MB'\n");
spew("$data/$_", '') for qw(more/zero more/deep/zero base/5/zero base/5/zero2);
symlink $space, "$data/pg_tblspc/16500" or die "symlink: $!";
symlink $ext, "$data/more/ext" or die "symlink: $!";
chmod 0700, $data, $space, $ext;
chmod 0400, "$data/more/deep/er/a", "$data/base/5/zero";
chmod 0750, "$data/more/deep";
utime 1_000_000_000, 1_000_000_000, "$data/base/5/1";
$stanza->set(demo => { 'pg1-path' => $data });

my @places = ($data, "$space/$folder", $ext);
my ($fresh, @log);
PgStrata::at_end(sub { run_command([ qw(chmod -R u+rwx), work_dir() ]) });

sub random_bytes { return join '', map { pack 'N', rand 2**32 } 1 .. (rand() < 0.3 ? rand 200 : rand 20_000) }

# Everything in some places, links not followed.  Of files also the number of names and the time: two files that
# are one would not stay right for long.
sub tree_of {
	my @roots = @_;
	my %tree;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my @status = lstat or return;
		my ($type, $bits) = (S_IFMT($status[2]), sprintf '%04o', S_IMODE($status[2]));
		$tree{$_} = $type == S_IFLNK ? 'l ' . readlink
			: $type == S_IFDIR ? "d $bits"
			: $type == S_IFREG ? "f $bits $status[9] names $status[3] " . content($_)
			: "special $bits";
	} }, grep { -d && !-l } @roots);
	return \%tree;
}
sub trees { return tree_of(@places) }

sub content {
	my ($file) = @_;
	return 'unreadable' if !-r $file;
	return (-s _) . ' ' . Digest::SHA->new(1)->addfile($file, 'b')->hexdigest;
}

# Path and inode of all files that are as they should be.
sub right_files {
	my ($tree) = @_;
	my %inode;
	for my $name (grep { $fresh->{$_} =~ /^f/ } keys %$fresh) {
		my ($is, $should) = map { ($_->{$name} // '') =~ /^f \d+ \d+ (names 1 .*)/ ? $1 : '' } $tree, $fresh;
		$inode{$name} = (lstat $name)[1] if $is ne '' && $is eq $should && $name ne "$data/global/pg_control";
	}
	return \%inode;
}

# What nobody may touch; how many names its files have is not part of it.
sub surroundings {
	my $tree = tree_of($outside, "$space/PG_9.6_201608131");
	s/ names \d+ / / for values %$tree;
	return $tree;
}

# --- the changes: each gets a path of its kind, returns false when it was not possible ---

sub pick { return $_[rand @_] }

sub some {
	my ($type) = @_;
	my @found;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my $mode = (lstat)[2];
		my $top = $_;
		push @found, $_ if defined $mode && S_IFMT($mode) == $type && !grep { $top eq $_ } @places;
	} }, grep { -d && !-l } @places);
	return pick(@found);
}
sub any_file { return some(S_IFREG) }
sub any_dir { return some(S_IFDIR) }
sub any_link { return some(S_IFLNK) }

sub keeping_time {
	my ($file, $change) = @_;
	my ($atime, $mtime) = (stat $file)[8, 9];
	return $change->() && utime $atime, $mtime, $file;
}

sub write_at {
	my ($file, $offset, $bytes) = @_;
	open(my $out, '+<:raw', $file) or return 0;
	return seek($out, $offset, 0) && print($out $bytes) && close $out;
}

# Not into a pipe that an earlier change has put there: nobody reads it.
sub make_file {
	my ($file) = @_;
	return 0 if -e $file && !-f _;
	open(my $out, '>:raw', $file) or return 0;
	return print($out random_bytes()) && close $out;
}

sub gone {
	my ($path) = @_;
	return unlink $path if -l $path || !-d _;
	remove_tree($path, { error => \my $error });
	return !-e $path;
}

my $new_names = 0;
sub new_name {
	my ($dir) = @_;
	my $odd = pick('x', ' ', '-rf', "\xff", "caf\xc3\xa9", 'x.pgbackrest.tmp', 'tablespace_map', 'backup_label', 'y' x 200);
	return "$dir/$odd" . ($odd =~ /[._]\w{3,}$/ ? '' : ++$new_names);
}

sub swap {
	my ($one, $two) = @_;
	return 0 if $one eq $two || index("$one/", "$two/") == 0 || index("$two/", "$one/") == 0;
	return rename($one, "$data/swap") && rename($two, $one) && rename("$data/swap", $two);
}

sub destination { return pick($outside, "$outside/dir", "$outside/file", 'nowhere', '..', '.', $data, "$data/base", any_file(), any_dir()) }
sub any_mode { return pick(0, 0400, 0444, 0500, 0600, 0640, 0644, 0700, 0755, 0777, 01777, 02755, 04755) }

my %change = (
	'another byte, same time' => sub { my $f = any_file(); -s $f && keeping_time($f, sub { write_at($f, int rand -s $f, pack 'C', rand 256) }) },
	'other bytes, same size and time' => sub { my $f = any_file(); keeping_time($f, sub { write_at($f, 0, 'z' x -s $f) }) },
	'shorter' => sub { my $f = any_file(); truncate $f, int rand -s $f },
	'longer' => sub { my $f = any_file(); write_at($f, -s $f, 'more' x (1 + rand 4000)) },
	'longer by zeros' => sub { my $f = any_file(); truncate $f, rand(100_000) + -s $f },
	'written anew' => sub { make_file(any_file()) },
	'file removed' => sub { unlink any_file() },
	'file becomes a directory' => sub { my $f = any_file(); unlink($f) && mkdir($f) && make_file("$f/x") },
	'file becomes a link' => sub { my ($f, $to) = (any_file(), destination()); unlink($f) && symlink $to, $f },
	'file becomes a link to itself' => sub { my $f = any_file(); unlink($f) && symlink $f, $f },
	'file becomes a pipe' => sub { my $f = any_file(); unlink($f) && POSIX::mkfifo($f, 0600) },
	'file becomes a name of one outside' => sub { my $f = any_file(); unlink($f) && link pick("$outside/file", "$outside/dir/a"), $f },
	'two files become one' => sub { my ($f, $g) = (any_file(), any_file()); $f ne $g && unlink($g) && link $f, $g },
	'file gets another name too' => sub { my ($f, $d) = (any_file(), any_dir()); link $f, new_name($d) },
	'two empty files become one' => sub { unlink "$data/base/5/zero"; link "$data/base/5/zero2", "$data/base/5/zero" },
	'file renamed' => sub { my $f = any_file(); rename $f, new_name(any_dir()) },
	'files swapped' => sub { swap(any_file(), any_file()) },
	'file mode' => sub { chmod any_mode(), any_file() },
	'file time' => sub { my $time = pick(0, 1, 2**31 - 1, time); utime $time, $time, any_file() },
	'directory removed' => sub { gone(any_dir()) },
	'directory becomes a file' => sub { my $d = any_dir(); gone($d) && make_file($d) },
	'directory becomes a link' => sub { my ($d, $to) = (any_dir(), destination()); gone($d) && symlink $to, $d },
	'directory moved, and a link to it' => sub { my $d = any_dir(); my $to = "$outside/moved" . ++$new_names; rename($d, $to) && symlink $to, $d },
	'directory becomes a pipe' => sub { my $d = any_dir(); gone($d) && POSIX::mkfifo($d, 0600) },
	'directory renamed' => sub { my $d = any_dir(); rename $d, new_name(any_dir()) },
	'directories swapped' => sub { swap(any_dir(), any_dir()) },
	'file and directory swapped' => sub { swap(any_file(), any_dir()) },
	'directory mode' => sub { chmod any_mode(), any_dir() },
	'new file' => sub { make_file(new_name(pick($data, any_dir()))) },
	'new directory' => sub { my $d = new_name(pick($data, any_dir())); mkdir($d) && mkdir("$d/sub") && make_file("$d/sub/x") && symlink($outside, "$d/out") && chmod any_mode(), $d },
	'new link' => sub { symlink destination(), new_name(any_dir()) },
	'new pipe' => sub { POSIX::mkfifo(new_name(any_dir()), 0600) },
	'link removed' => sub { my $l = any_link(); $l && unlink $l },
	'link leads elsewhere' => sub { my ($l, $to) = (any_link(), destination()); $l && unlink($l) && symlink $to, $l },
	'link becomes a directory' => sub { my $l = any_link(); $l && unlink($l) && mkdir($l) && make_file("$l/x") },
	'link becomes a file' => sub { my $l = any_link(); $l && unlink($l) && make_file($l) },
	'the linked directory is gone' => sub { gone($ext) },
	'the tablespace is gone' => sub { gone("$space/$folder") },
);

sub change_something {
	for (1 .. 1000) {
		no warnings;
		my $name = pick(sort keys %change);
		next if !$change{$name}->();
		push @log, $name;
		return;
	}
	die "SEED=$seed: nothing can be changed any more\n";
}

# --- rounds ---

my @restore = qw(restore --link-all);
$stanza->run_ok('stanza-create', '--no-online');
$stanza->run_ok('backup', '--no-online', '--type=full', '--compress-type=lz4');
my $source = trees();
remove_tree(@places);
$stanza->run_ok(@restore, { name => 'a fresh restore' });
$fresh = trees();
same_tree($source, $fresh, 'is what was backed up');

my (%used, $kept);
my $changes = 0;
for my $round (1 .. $rounds) {
	@log = ();
	change_something() for 1 .. $changes_each;
	# without it the directory is none of PostgreSQL's, and --delta would refuse
	spew("$data/backup.manifest") if !lstat "$data/PG_VERSION";
	my $before = surroundings();
	my $inodes = right_files(trees());
	my ($code, $out, $err) = $stanza->run(@restore, '--delta');
	my @wrong = $code ? ("exit $code\n$out$err") : ();
	push @wrong, tree_diff($fresh, trees());
	push @wrong, map { "outside: $_" } tree_diff($before, surroundings());
	push @wrong, map { "$_ was right and was written anew" } grep { ((lstat)[1] // 0) != $inodes->{$_} } sort keys %$inodes;
	splice @wrong, 20 if @wrong > 20;
	ok(!@wrong, "round $round: --delta leads back to the fresh tree")
		or do { diag(join "\n", "SEED=$seed, changes: " . join('; ', @log), @wrong); last };
	$used{$_}++ for @log;
	$changes += @log;
	$kept += keys %$inodes;
}
cmp_ok($changes, '>=', 200, 'enough was changed');
cmp_ok($kept, '>', $rounds, 'enough was right and stayed');
my @unused = grep { !$used{$_} } sort keys %change;
is("@unused", '', 'each kind of change happened') if full_run();

done_testing();
