# The n-th system call of a backup that resumes an interrupted one fails, for every n: while it is looked through, cleaned,
# proven, gone on with and published.  The command tells so or overcomes it; what is listed restores; the same command
# run again succeeds and leaves nothing behind.  By default a random part of all cases, in long campaigns all of them.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use PgStrata::Recovery qw(copy_tree);
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off', 'expire-auto' => 'n',
	'repo1-retention-full' => 9, 'process-max' => 2, 'compress-type' => 'zst', 'manifest-save-threshold' => 1 } });
my ($source, $target, $saved) = map { work_dir() . "/$_" } qw(source target saved);
my $repo = $stanza->path('repo');

faults_for($stanza);

make_path(map { "$source/$_" } qw(global base/1 empty));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
spew("$source/$_->[0]", $_->[1]) for [ 'postgresql.auto.conf' => "work_mem = '8MB'\n" ], [ zero => '' ], [ same => 'x' x 5000 ],
	[ changed => 'one' x 1000 ], [ damaged => 'd' x 5000 ], [ gone => 'z' ], [ large => join '', map { pack 'N', rand 2 ** 32 } 1 .. 50_000 ];
chmod 0700, $source;
my $time = 1_700_000_000;
utime $time, $time, map { "$source/$_" } qw(same changed damaged gone large base/1/1259 zero);
$stanza->set(demo => { 'pg1-path' => $source });
$stanza->run_ok('stanza-create', '--no-online');

# --- what an interrupted backup left, and what has happened since ---

my @backup = ('backup', '--no-online', '--type=full');
copy_tree($repo, "$saved.empty");
my ($label) = $stanza->run_ok(@backup) =~ /new backup label = (\S+)/;
unlink "$repo/backup/demo/$label/backup.manifest", "$repo/backup/demo/latest";
remove_tree("$repo/backup/demo/backup.history");
cp("$saved.empty/backup/demo/$_", "$repo/backup/demo/$_") or die "$_: $!" for 'backup.info', 'backup.info.copy';
my $left = "$repo/backup/demo/$label/pg_data";
flip_bit("$left/damaged.zst", -3, 1);
symlink '/nowhere', "$left/link" or die;
make_path("$left/foreign/below");
spew("$left/foreign/below/file", 'f');
spew("$source/changed", 'two' x 1000);
spew("$source/new", 'n' x 3000);
utime $time, $time, map { "$source/$_" } qw(changed new);
unlink "$source/gone";
copy_tree($repo, $saved);

sub tree { return snapshot($_[0], ignore => qr/^postgresql\.auto\.conf$|^recovery\.signal$/) }
my $now = tree($source);

sub wrong_backups {
	my @wrong;
	for my $listed ($stanza->labels) {
		remove_tree($target);
		mkdir $target, 0700;
		my $code = run_with(undef, 0, 'restore', '--type=none', "--pg1-path=$target", "--set=$listed");
		push @wrong, "$listed: restore: exit $code: " . said() if $code;
		my @different = tree_diff($now, tree($target));
		push @wrong, "$listed: @different" if @different;
	}
	return @wrong;
}

my ($resumed, $unlisted) = (0, 0);
sweep('resume', \@backup, 30,
	prepare => sub {
		remove_tree($repo);
		copy_tree($saved, $repo);
	},
	check => sub {
		my ($code) = @_;
		my @listed = $stanza->labels;
		my @wrong = wrong_backups();
		push @wrong, 'it succeeded, but is not listed' if $code == 0 && !@listed;
		return @wrong if @listed;
		$unlisted++;
		push @wrong, run_again(@backup);
		$resumed++ if said() =~ /checksum resumed file/;
		my @directories = map { m{([^/]+)$} } grep { -d && !-l } glob "$repo/backup/demo/2*F";
		push @wrong, "left: @directories" if "@directories" ne join ' ', $stanza->labels;
		return (@wrong, wrong_backups());
	});
cmp_ok($resumed, '>=', $unlisted / 3, 'what was interrupted again was mostly resumed again');
done_testing;
