# The n-th system call of expire fails or kills it, for every n.  Whatever is listed afterwards, and whatever has a
# manifest and so would be listed again, has all its files and its WAL; a failure is told and has a documented code; the
# same command run again finishes the work (promises P3, P4, P6, P7).  And what another host does while expire decides.
use strict;
use warnings;
use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(shuffle);
use PgStrata;
use PgStrata::Fault;
use PgStrata::History;
use PgStrata::Interop;
use Test::More;

$ENV{TZ} = 'UTC';
my $stanza = PgStrata::Stanza->new(options => { global => { 'log-level-file' => 'off' } });
my ($repo, $saved) = ($stanza->path('repo'), work_dir() . '/saved');
my $seed = $ENV{SEED} // time;
faults_for($stanza);

# A history in which something of each kind goes and stays.
my @expire = qw(expire --repo1-retention-full=2 --repo1-retention-diff=1 --repo1-retention-history=0 --no-checksum-page-error);
my $history = PgStrata::History->new(seed => 2961, clusters => 2, sets => 4, wal => 2, errors => 0, now => 1_795_000_000);
$history->write($repo);
mkdir "$repo/backup/demo/backup.history/2020" or die "mkdir: $!";
spew("$repo/$_", 'x') for 'archive/demo/14-2/00000000.history', 'backup/demo/backup.history/2020/20200101-000000F.manifest.gz';
copy_all($repo, $saved);
my $untouched = tree();
my $done = $stanza->run_ok(@expire, { name => 'expire' });
my $final = tree();
like($done, $_, "it goes: $_") for qr/expire full backup set .*, /, qr/expire diff backup/, qr/remove archive path .*-1\n/,
	qr/remove archive, start/, qr/remove history file/, qr/history manifest/, qr/history path/;

sub copy_all {
	my ($from, $to) = @_;
	remove_tree($to);
	my ($code, $out, $err) = run_command([ 'cp', '-a', $from, $to ]);
	die "cp: $err" if $code;
}

# Unfinished files of a killed run are named so that nobody takes them for anything.
sub tree {
	my $tree = snapshot($repo);
	delete $tree->{$_} for grep { /\.pgbackrest\.tmp$/ } keys %$tree;
	return $tree;
}

sub count_calls {
	my ($call) = @_;
	my $counted = work_dir() . '/calls';
	unlink $counted;
	copy_all($saved, $repo);
	$stanza->run_ok(@expire, { name => "counting $call", env => { PGSTRATA_FAULT => "$call:0:EIO", PGSTRATA_FAULT_COUNT => $counted } });
	chomp(my $count = slurp($counted));
	return $count;
}

# Labels in backup.info, and those that a reconciliation would add.
sub labels {
	my %labels = map { $_ => 1 } slurp("$repo/backup/demo/backup.info") =~ /^(\d{8}-\d{6}F\S*?)=/mg;
	m{/(\d[^/]+)/backup\.manifest$} and $labels{$1} = 1 for glob "$repo/backup/demo/*/backup.manifest";
	return sort keys %labels;
}

sub judge {
	my ($code, $action) = @_;
	my $said = said();
	my @wrong = map { "lost: $_" } $history->lost($repo, labels());
	if ($action eq 'kill') {
		push @wrong, "exit $code" if $code != 137 && $code != 0;
	} elsif ($code != 0) {
		# any other code is that of the locks and stop files, before the repository is looked at
		push @wrong, map { "exit $code, but $_" } tree_diff(tree(), $untouched) if $code != 104;
		push @wrong, "no message: $said" if $said !~ sprintf 'ERROR: \[%03d\]: \S', $code;
		push @wrong, "the repository is not named: $said" if $code == 104 && $said !~ /ERROR: \[\d{3}\]: repo1: \S/;
		push @wrong, map { "left behind: $_" } grep { /\.tmp$/ } keys %{snapshot($repo)} if $said !~ /unable to remove/;
	} else {
		push @wrong, map { "success, but $_" } tree_diff(tree(), $final);
	}
	push @wrong, 'again: ' . said() if run_with(undef, 0, @expire) != 0;
	push @wrong, map { "again: $_" } tree_diff(tree(), $final);
	return @wrong;
}

sub try_all {
	my ($name, $limit, @cases) = @_;
	srand $seed;
	my $count = @cases;
	@cases = shuffle(@cases);
	$limit *= 4 if full_run();
	splice @cases, $limit if !deep_run() && @cases > $limit;
	my (@wrong, $failed);
	for my $case (@cases) {
		my ($call, $n, $action) = @$case;
		copy_all($saved, $repo);
		my $code = run_with("$call:$n:$action", 0, @expire);
		$failed++ if $code;
		push @wrong, map { "PGSTRATA_FAULT=$call:$n:$action: exit $code: $_" } judge($code, $action);
	}
	note("$name: " . @cases . " of $count cases");
	ok(!@wrong, "$name: whatever is listed is whole, and the next run ends the work")
		or diag(join "\n", "SEED=$seed", splice @wrong, 0, 15);
	ok($failed, "$name: some did fail");
}

my $changes = count_calls('any');
cmp_ok($changes, '>', 30, "expire makes $changes calls that change something");
try_all('killed', 1000, map { [ 'any', $_, 'kill' ] } 1 .. $changes);
try_all('failing', 30, map { my $n = $_; map { [ 'any', $n, $_ ] } qw(EIO ENOSPC) } 1 .. $changes);
my @reads;
for my $call (qw(open stat lstat opendir read)) {
	push @reads, map { [ $call, $_, 'EIO' ] } 1 .. count_calls($call);
}
try_all('failing to look', 20, @reads);

# --- another host completes a backup while expire decides ---

# Expire stops when it has read what there is and before it changes anything; meanwhile CODE; then it goes on.
sub meanwhile {
	my ($do) = @_;
	copy_all($saved, $repo);
	my $expire = spawn_command([ $stanza->command(@expire) ], env => { PGSTRATA_FAULT => 'opendir:3:stop' });
	ok(wait_until(sub { slurp("/proc/$expire->{pid}/stat") =~ /\) T / }, 60), 'it waits');
	$do->();
	kill 'CONT', $expire->{pid};
	return reap($expire, 60);
}

my $index = "$repo/backup/demo/backup.info";
my ($code, $out) = meanwhile(sub { edit_info_file($index, sub { s/^(2\d{7}-\d{6}F)(=.*)/$1$2\n20350101-000000F$2/m or die }) });
is($code, 104, 'a backup is listed meanwhile');
like($out, qr/ERROR: \[028\]: repo1: backup\.info was changed while expire was deciding; nothing was removed\n.*HINT: /, 'it says so');
my $after = tree();
is_deeply([ grep { !/^backup\/demo\/backup\.info/ } tree_diff($untouched, $after) ], [], 'so it is');
like(slurp($index), qr/^20350101-000000F=/m, 'the new one stays listed');
my ($leftover) = grep { !-e "$saved/backup/demo/$_/backup.manifest" } map { $_->{label} } @{$history->{leftover}};
($code, $out) = meanwhile(sub { spew("$repo/backup/demo/$leftover/backup.manifest", 'x') });
is($code, 0, 'a folder becomes a backup meanwhile');
like($out, qr/WARN: repo1: backup \Q$leftover\E was completed meanwhile and is not removed/, 'it says so');
is_deeply([ grep { !m{^backup/demo/\Q$leftover\E(/|:)} } tree_diff($final, tree()) ], [], 'it stays, all else went');

done_testing();
