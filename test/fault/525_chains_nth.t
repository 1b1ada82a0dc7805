# The n-th system call of an incremental backup fails, for every n: with bundles, with hard links, with every file compared,
# with blocks.
# The command tells so or overcomes it; what is listed restores, the backups before it too; nothing is lost that they
# need; the same command run again succeeds.  By default a random part of all cases, in long campaigns all of them.
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
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off', 'expire-auto' => 'n',
	'repo1-retention-full' => 9, 'process-max' => 2, 'compress-type' => 'lz4' } });
my ($source, $target, $saved) = map { work_dir() . "/$_" } qw(source target saved);
my $repo = $stanza->path('repo');

faults_for($stanza);

sub copy_all {
	my ($from, $to) = @_;
	remove_tree($to);
	my ($code, $out, $err) = run_command([ 'cp', '-a', $from, $to ]);
	die "cp: $err" if $code;
}

# --- two states of a data directory ---

make_path(map { "$source/$_" } qw(global base/1 empty));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
spew("$source/$_->[0]", $_->[1]) for [ 'postgresql.auto.conf' => "work_mem = '8MB'\n" ], [ zero => '' ], [ same => 'x' x 5000 ],
	[ touched => 'y' x 5000 ], [ changed => 'one' ], [ gone => 'z' ], [ large => join '', map { pack 'N', rand 2**32 } 1 .. 50_000 ];
chmod 0700, $source;
utime 1_700_000_000, 1_700_000_000, map { "$source/$_" } qw(same touched changed gone large base/1/1259 zero);
$stanza->set(demo => { 'pg1-path' => $source });
$stanza->run_ok('stanza-create', '--no-online');

sub tree { return snapshot($_[0], ignore => qr/^postgresql\.auto\.conf$|^recovery\.signal$/) }

my (%tree, $full);
sub take_full {
	my ($out) = $stanza->run_ok('backup', '--no-online', '--type=full', @_, { name => "full @_" });
	($full) = $out =~ /new backup label = (\S+)/;
	$tree{$full} = tree($source);
}
take_full();
copy_all($repo, $saved);
my $without = $full;
my @blocks = qw(--repo1-bundle --repo1-bundle-limit=64KiB --repo1-block --repo1-block-age-map=40000=0);
remove_tree($repo, { keep_root => 1 });
$stanza->run_ok('stanza-create', '--no-online');
take_full(@blocks);
copy_all($repo, "$saved-blocks");
spew("$source/changed", 'two');
spew("$source/new", 'n' x 3000);
truncate "$source/large", 100_000;
unlink "$source/gone";
utime 1_700_000_001, 1_700_000_001, map { "$source/$_" } qw(touched changed new large);
my $now = tree($source);

# The backups that are listed, each of which must restore; what is wrong about them.
sub wrong_backups {
	my @wrong;
	for my $label ($stanza->labels) {
		remove_tree($target);
		mkdir $target, 0700;
		my $code = run_with(undef, 0, 'restore', '--type=none', "--pg1-path=$target", "--set=$label");
		push @wrong, "$label: restore: exit $code: " . said() if $code;
		my @different = tree_diff($tree{$label} // $now, tree($target));
		push @wrong, "$label: @different" if @different;
	}
	push @wrong, "$full is not listed" if !grep { $_ eq $full } $stanza->labels;
	return @wrong;
}

for my $kind ([ blocks => @blocks ], [ bundles => qw(--repo1-bundle --repo1-bundle-limit=64KiB) ],
	[ 'hard links' => '--repo1-hardlink' ], [ delta => qw(--delta --repo1-bundle) ]) {
	my ($name, @options) = @$kind;
	my $from = $name eq 'blocks' ? "$saved-blocks" : $saved;
	$full = $without if $name ne 'blocks';
	my @backup = (qw(backup --no-online --type=incr), @options);
	sweep($name, \@backup, 20,
		prepare => sub { copy_all($from, $repo) },
		check => sub {
			my ($code) = @_;
			my @labels = $stanza->labels;
			my @wrong = @labels == 2 || $code ? () : ('success, but ' . @labels . ' backups');
			push @wrong, wrong_backups();
			my @left = grep { !-e "$_/backup.manifest" } glob "$repo/backup/demo/2*F*";
			# nothing has changed since a backup that came to be in spite of the failure
			my $complete = () = glob "$repo/backup/demo/2*F*/backup.manifest";
			my $again;
			wait_until(sub { ($again = run_with(undef, 0, @backup)) != 50 }, 20);
			push @wrong, "again: exit $again: " . said()
				if $again && !($again == 55 && $complete == 2 && said() =~ /no files have changed/);
			push @wrong, 'again: listed ' . join ' ', $stanza->labels if !$again && $stanza->labels != $complete + 1;
			return (@wrong, wrong_backups());
		});
}

# Another host expires the base while an incremental backup waits before its last save points.
copy_all($saved, $repo);
my $incr = spawn_command([ $stanza->command(qw(backup --no-online --type=incr)) ], env => { PGSTRATA_FAULT => 'rename:2:stop' });
ok(wait_until(sub { slurp("/proc/$incr->{pid}/stat") =~ /\) T / }, 60), 'an incremental backup waits');
remove_tree("$repo/backup/demo/$without");
kill 'CONT', $incr->{pid};
my ($code, $said) = reap($incr, 60);
is($code, 75, 'its base is gone');
like($said, qr/\[075\]: backup '$without', which this backup is based on, was removed while it ran/, 'it says so');
is_deeply([ $stanza->labels ], [$without], 'it is not listed');
done_testing();
