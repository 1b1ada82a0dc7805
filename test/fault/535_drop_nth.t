# The n-th system call of archive-push fails, or the process is killed there, while it drops WAL and while it carries
# notes and kept files to two repositories: what was dropped is noted in the spool or in every repository, a kept
# history file is in the spool or in every repository, exit 0 means that it is so already, and the same command run
# again finishes (point 4 of issue 6; promises P1, P6, P7, P9).
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off',
	'archive-push-queue-max' => '1MB' } });
my @repos = ($stanza->path('repo'), $stanza->path('repo2'));
my ($spool, $saved) = ($stanza->path('spool'), work_dir() . '/saved');
my $gap = "$spool/pgstrata/demo/gap";
mkdir $repos[1];
$stanza->set(global => { 'repo2-path' => $repos[1] });
faults_for($stanza);

my $wal = $pg->data . '/pg_wal';
my ($real) = map { m{/([0-9A-F]{24})$} } glob "$wal/*";
my ($first, $second) = map { substr($real, 0, 23) . $_ } 'A', 'B';
my ($system_id) = $pg->must('pg_controldata', '-D', $pg->data) =~ /system identifier: +(\d+)/;
my $history = "1\t0/A00000\tno recovery target specified\n";
cp("$wal/$real", "$wal/$_") or die "$_: $!" for $first, $second;
$stanza->run_ok('stanza-create', '--no-online');

sub ready { spew("$wal/archive_status/$_.ready") for @_ }
sub not_ready { unlink glob "$wal/archive_status/*.ready" }

# What the whole notes in a folder name; one that is not whole names nothing.
sub named {
	my @names;
	for my $text (map { scalar slurp($_) } map { glob "$_/*.json" } @_) {
		my ($sum, $note) = $text =~ /^\{"checksum":"([0-9a-f]{40})","note":(\{.*\})\}\n\z/s;
		push @names, $note =~ /"([0-9A-F]{24})"/g if defined $note && sha1_hex($note) eq $sum;
	}
	return map { $_ => 1 } @names;
}
sub repo_gap { return glob "$_[0]/archive/demo/*/pgstrata/gap" }

# What is wrong: a dropped file that neither the spool nor a repository knows of.
sub forgotten {
	my (@dropped) = @_;
	my %spool = named($gap);
	my @wrong;
	for my $repo (grep { -e } @repos) {
		my %here = named(repo_gap($repo));
		push @wrong, map { "$_ is noted neither in the spool nor in $repo" } grep { !$spool{$_} && !$here{$_} } @dropped;
	}
	return @wrong;
}

# --- dropping ---

ready($first, $second);
rename $_, "$_.away" or die "rename: $!" for @repos;
$stanza->run_ok('archive-push', "$wal/$first", { like => qr/WARN: dropped WAL file '$first' because archive queue exceeded 1MB/ });
is_deeply({ named($gap) }, { $first => 1 }, 'the first is noted');
run_command([ 'cp', '-a', $spool, $saved ]);
sweep('drop', [ 'archive-push', "$wal/$second" ], 40,
	prepare => sub {
		remove_tree($spool);
		run_command([ 'cp', '-a', $saved, $spool ]);
	},
	check => sub {
		my ($code, $action) = @_;
		my %names = named($gap);
		my @wrong = map { "$_ is not noted" } grep { !$names{$_} } $first, $code == 0 ? $second : ();
		push @wrong, run_again('archive-push', "$wal/$second");
		%names = named($gap);
		push @wrong, map { "again: $_ is not noted" } grep { !$names{$_} } $first, $second;
		return @wrong;
	});

# --- carrying ---

not_ready();
remove_tree($saved);
rename "$_.away", $_ or die "rename: $!" for @repos;
make_path("$gap/$system_id");
spew("$gap/$system_id/00000002.history", $history);
run_command([ 'cp', '-a', $spool, $saved ]);
run_command([ 'cp', '-a', $_, "$_.saved" ]) for @repos;
my @dropped = sort keys %{ { named($gap) } };
is_deeply(\@dropped, [ $first, $second ], 'both are noted');

sub kept { return grep { -e && slurp($_) eq $history } map { glob "$_/00000002.history" } @_ }
sub waits { return glob("$gap/*.json"), glob("$gap/*/*.history") }
sweep('carry', [ 'archive-push', "$wal/$real" ], 60,
	prepare => sub {
		remove_tree($spool, @repos);
		run_command([ 'cp', '-a', $saved, $spool ]);
		run_command([ 'cp', '-a', "$_.saved", $_ ]) for @repos;
	},
	check => sub {
		my ($code) = @_;
		my @wrong = forgotten(@dropped);
		push @wrong, map { "the history is neither in the spool nor in $_" }
			grep { !kept("$gap/$system_id") && !kept("$_/archive/demo/*") } @repos;
		push @wrong, map { "success, but $_ waits" } $code == 0 ? waits() : ();
		push @wrong, run_again('archive-push', "$wal/$real");
		push @wrong, map { "again: $_ waits" } waits();
		push @wrong, map { "again: $_" } forgotten(@dropped);
		push @wrong, map { "again: the history is not in $_" } grep { !kept("$_/archive/demo/*") } @repos;
		return @wrong;
	});

done_testing();
