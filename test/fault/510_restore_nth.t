# The n-th system call fails, for every n: of restore, stanza-create, archive-push, archive-get and backup.  The command
# tells so or overcomes it, nothing is half there under a name that counts, and the same command run again succeeds
# (promises P1, P2, P3, P7, P9).  By default a random part of all cases, in CI more, in long campaigns all of them.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off' } });
my ($source, $target, $space, $space_target) = map { work_dir() . "/$_" } qw(source target space space-target);
my ($saved, $got) = map { work_dir() . "/$_" } qw(saved got);
my $repo = $stanza->path('repo');
my ($wal, $segment) = map { ($_, m{([^/]+)$}) } (glob $pg->data . '/pg_wal/' . '?' x 24)[0];

faults_for($stanza);

# --- a data directory that is small and has all kinds of things ---

my $folder = "$space/" . $pg->version_folder;
make_path(map { "$source/$_" } qw(global base/1 pg_wal pg_tblspc empty/deep));
make_path("$folder/5");
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
spew("$source/$_->[0]", $_->[1]) for [ 'postgresql.auto.conf' => "work_mem = '8MB'\n" ], [ zero => '' ], [ mode => 'x' ],
	[ large => join '', map { pack 'N', rand 2**32 } 1 .. 50_000 ];
spew("$folder/5/1", 'in the tablespace' x 1000);
symlink $space, "$source/pg_tblspc/16500" or die "symlink: $!";
chmod 0700, $source;
chmod 0400, "$source/mode";
chmod 0750, "$source/empty";
utime 1_000_000_000, 1_000_000_000, "$source/large";
$stanza->set(demo => { 'pg1-path' => $source });

sub copy_all {
	my ($from, $to) = @_;
	remove_tree($to);
	my ($code, $out, $err) = run_command([ 'cp', '-a', $from, $to ]);
	die "cp: $err" if $code;
}

# --- stanza-create ---

sub repo_files { return [ grep { -f "$repo/$_" } sort keys %{snapshot($repo)} ] }
sub strays { return map { "left behind: $_" } grep { /\.tmp$/ } @{repo_files()} }

my @create = qw(stanza-create --no-online);
$stanza->run_ok(@create, { name => 'stanza-create' });
my $created = repo_files();
sweep('stanza-create', \@create, 40,
	prepare => sub {
		remove_tree($repo);
		mkdir $repo or die "mkdir $repo: $!";
	},
	check => sub {
		my ($code, $action) = @_;
		my @wrong = $action eq 'kill' ? () : strays();
		push @wrong, 'success, but ' . join ' ', @{repo_files()} if $code == 0 && "@{repo_files()}" ne "@$created";
		push @wrong, run_again(@create);
		push @wrong, 'no stanza: ' . said() if run_with(undef, 0, 'info') || said() !~ /status: error \(no valid backups\)/;
		for my $info ('archive/demo/archive.info', 'backup/demo/backup.info') {
			push @wrong, "$info differs from its copy" if slurp("$repo/$info") ne slurp("$repo/$info.copy");
		}
		return @wrong;
	});
remove_tree($repo);
mkdir $repo or die "mkdir $repo: $!";
$stanza->run_ok(@create, { name => 'stanza-create for the others' });

# --- archive-push and archive-get ---

$stanza->set(demo => { 'pg1-path' => $pg->data });
copy_all($repo, $saved);
my $content = slurp($wal);

# What the archive delivers, apart from what it should.
sub wrong_delivery {
	unlink $got;
	my $code = run_with(undef, 0, 'archive-get', $segment, $got);
	return $code ? ("archive-get: exit $code: " . said()) : slurp($got) ne $content ? ('archive-get: other bytes') : ();
}
sub stored { return grep { m{/$segment-[^/]*$} && !/\.tmp$/ } @{repo_files()} }

sweep('archive-push', [ 'archive-push', $wal ], 30,
	prepare => sub { copy_all($saved, $repo) },
	check => sub {
		my ($code, $action) = @_;
		my @wrong = $action eq 'kill' ? () : strays();
		push @wrong, map { "success, but $_" } wrong_delivery() if $code == 0;
		push @wrong, map { "failed, and stored half: $_" } wrong_delivery() if $code != 0 && stored();
		push @wrong, run_again('archive-push', $wal);
		my @stored = stored();
		push @wrong, "stored as: @stored" if @stored != 1;
		return (@wrong, wrong_delivery());
	});

copy_all($saved, $repo);
$stanza->run_ok('archive-push', $wal, { name => 'a stored segment' });
sweep('archive-get', [ 'archive-get', $segment, $got ], 30,
	prepare => sub { unlink $got },
	check => sub {
		my ($code) = @_;
		my @wrong;
		push @wrong, "an unknown segment is called absent: " . said() if $code == 1;
		push @wrong, 'success, but no file' if $code == 0 && !-e $got;
		push @wrong, 'other bytes under the final name' if -e $got && slurp($got) ne $content;
		unlink $got;
		return (@wrong, run_again('archive-get', $segment, $got), (-e $got ? slurp($got) : '') eq $content ? () : 'again: other bytes');
	});

# --- restore ---

$stanza->set(demo => { 'pg1-path' => $source });
copy_all($saved, $repo);
my @backup = qw(backup --no-online --type=full --compress-type=zst);
my @restore = ('restore', "--pg1-path=$target", "--tablespace-map=16500=$space_target");
$stanza->run_ok(@backup);

sub tree {
	my %tree;
	for my $place ($target, $space_target) {
		my $below = -d $place ? snapshot($place) : {};
		$tree{"$place/$_"} = $below->{$_} =~ /^f/ ? "$below->{$_} " . (stat "$place/$_")[9] : $below->{$_} for keys %$below;
	}
	return \%tree;
}
sub no_target { remove_tree($target, $space_target) }

$stanza->run_ok(@restore, { name => 'restore' });
my $fresh = tree();
same_tree(snapshot($source, ignore => qr{^pg_tblspc/}), snapshot($target, ignore => qr{^pg_tblspc/}), 'it is what was backed up');

sub check_restored {
	my ($code) = @_;
	my @different = tree_diff($fresh, tree());
	my @wrong;
	push @wrong, "success, but @different" if $code == 0 && @different;
	push @wrong, "can be started, but @different" if -e "$target/global/pg_control" && @different;
	push @wrong, run_again(@restore, '--delta');
	@different = tree_diff($fresh, tree());
	push @wrong, "again: @different" if @different;
	return @wrong;
}

sweep('restore', \@restore, 70, prepare => \&no_target, check => \&check_restored);

# Over a directory in which much is wrong, so that cleaning has something to do.
no_target();
copy_all($_->[0], $_->[1]) for [ $source, $target ], [ $space, $space_target ];
spew("$target/$_", 'x') for qw(large base/1/1259 backup_label pg_wal/000000010000000000000001);
unlink "$target/pg_tblspc/16500", "$target/zero";
symlink work_dir(), "$target/pg_tblspc/16500";
make_path("$target/zero/deep", "$target/more/deep", "$space_target/" . ($folder =~ s{.*/}{}r) . '/6');
spew("$target/more/deep/file", 'x');
symlink $source, "$target/more/link";
copy_all($_, "$_.bent") for $target, $space_target;
sub bend { copy_all("$_.bent", $_) for $target, $space_target }
sweep('restore --delta', [ @restore, '--delta' ], 60, prepare => \&bend, check => sub {
	my ($code) = @_;
	my $untouched = !tree_diff(snapshot($target), snapshot("$target.bent")) && $code;
	return ($untouched ? () : check_restored($code));
});

# --- backup ---

# The backups that are listed, each of which must restore; what is wrong about them.
sub wrong_backups {
	my @wrong;
	for my $label ($stanza->labels) {
		no_target();
		my $code = run_with(undef, 0, @restore, "--set=$label");
		push @wrong, "$label: restore: exit $code: " . said() if $code;
		my %ours = %{tree()};
		my @different = tree_diff($fresh, \%ours);
		push @wrong, "$label: @different" if @different;
	}
	return @wrong;
}

copy_all($saved, $repo);
sweep('backup', \@backup, 35,
	prepare => sub { copy_all($saved, $repo) },
	check => sub {
		my ($code) = @_;
		my @labels = $stanza->labels;
		my @wrong = @labels == 1 || $code ? () : ('success, but ' . @labels . ' backups');
		push @wrong, wrong_backups() if @labels;
		# the next run lists what is complete and not yet listed
		my @complete = glob "$repo/backup/demo/*F/backup.manifest";
		push @wrong, run_again(@backup);
		push @wrong, 'again: ' . join ' ', 'listed', $stanza->labels if $stanza->labels != @complete + 1;
		return (@wrong, wrong_backups());
	});

done_testing();
