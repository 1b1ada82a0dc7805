# Retention, by us and by the original: the same invented repositories, the same options, the same files afterwards, and
# the same lines about what goes.
#
# Differences that are allowed, and why:
#  - the newest folder stays with us if it has only a manifest copy: releases before 2.59 remove a backup that runs on
#    another host (format/repository.md 10.4);
#  - info files differ in who wrote them;
#  - latest is pointed to a backup that exists whenever its own goes; the original does it for --set only;
#  - a folder that has a manifest and cannot be listed stays with us (the last test).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::History;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();
$ENV{TZ} = 'UTC';
my $seed = $ENV{SEED} // 1;
my $now = $ENV{NOW} // time;
my $cases = $ENV{CASES} // (deep_run() ? 2000 : full_run() ? 200 : 40);

my $ours = PgStrata::Stanza->new(options => { global => { 'log-level-file' => 'off' } });
my ($repo, $theirs_repo) = ($ours->path('repo'), $ours->path('theirs'));
my @theirs = (pgbackrest(), '--config=/dev/null', '--stanza=demo', "--repo1-path=$theirs_repo", '--lock-path=' . $ours->path('lock'),
	'--log-level-file=off', '--log-level-console=detail', '--log-level-stderr=off', '--log-timestamp=n');

sub copy_of {
	my ($from, $to) = @_;
	my ($code, $out, $err) = run_command([ 'sh', '-c', 'rm -rf "$2" && cp -a "$1" "$2"', 'sh', $from, $to ]);
	die "cp: $err" if $code;
}

# A policy: options for both, drawn after the history, so that the seed decides.
sub policy {
	my ($history) = @_;
	my %p;
	$p{full} = 1 + int rand 5 if rand() < 0.8;
	@p{qw(full-type full)} = ('time', 1 + int rand 120) if rand() < 0.3;
	$p{diff} = 1 + int rand 4 if rand() < 0.5;
	$p{'archive-type'} = (qw(full diff incr))[ rand 3 ] if rand() < 0.5;
	$p{archive} = 1 + int rand 6 if rand() < 0.4;
	$p{history} = int rand 200 if rand() < 0.3;
	my @options = map { "--repo1-retention-$_=$p{$_}" } sort keys %p;
	my @backups = @{$history->{backups}};
	push @options, "--set=$backups[rand @backups]{label}" if @backups && rand() < 0.2;
	return @options;
}

# All files, but of an info file only what it says of backups and clusters.
sub tree {
	my ($place) = @_;
	my $tree = snapshot($place);
	for my $info (grep { m{\.info(\.copy)?$} } keys %$tree) {
		(my $text = slurp("$place/$info")) =~ s/^backrest-(version|checksum)=.*\n//mg;
		$tree->{$info} = $text;
	}
	delete $tree->{'backup/demo/latest'};
	s/ 0?[0-7]{3,4} / / for values %$tree;
	return $tree;
}

# What goes, line by line.  When WAL of several folders goes in a row the original names the last whole folder as the
# start, we the first file.
sub lines {
	my ($text) = @_;
	$text =~ s/(remove archive, start = )([0-9A-F]{16})([0-9A-F]*)(, stop = )(?!\2)/$1...$4/g;
	$text =~ s/(remove archive, start = )(?:[0-9A-F]{16}(, stop = )|[0-9A-F]{24}(, stop = (?=[0-9A-F]{16}$)))/$1...@{[$2 || $3]}/mg;
	$text =~ s{\Q$theirs_repo\E}{$repo}g;
	return [ map { s/^\[DRY-RUN\] //r } grep { !/command (begin|end)/ } $text =~ /^P00   INFO: (.*)/mg ];
}

# The newest folder, if it looks like that of a running backup.
sub running {
	my @folders = grep { m{/\d{8}-\d{6}F[^/]*$} } sort glob "$repo/backup/demo/*";
	return () if !@folders || -e "$folders[-1]/backup.manifest" || !-e "$folders[-1]/backup.manifest.copy";
	return $folders[-1] =~ m{([^/]+)$};
}

sub judge {
	my ($history, $running, $dry, @options) = @_;
	my @wrong;
	my ($code, $out, $err) = $ours->run('expire', '--no-checksum-page-error', @options);
	my ($their_code, $their_out) = run_command([ @theirs, @options, 'expire' ]);
	push @wrong, "exit $code, theirs $their_code" if $code != $their_code;
	push @wrong, "dry run: $_" for line_diff(lines($dry), lines($out));
	my ($our_tree, $their_tree) = (tree($repo), tree($theirs_repo));
	if (defined $running && -e "$repo/backup/demo/$running" && !-e "$theirs_repo/backup/demo/$running") {
		delete $our_tree->{$_} for grep { m{^backup/demo/\Q$running\E(/|$)} } keys %$our_tree;
		$their_out =~ s/^P00   INFO: repo1: remove expired backup \Q$running\E\n//m;
	}
	push @wrong, tree_diff($our_tree, $their_tree), line_diff(lines($out), lines($their_out));
	my @labels = $ours->labels;
	push @wrong, $history->lost($repo, @labels);
	my $latest = readlink "$repo/backup/demo/latest";
	push @wrong, "latest is $latest" if @labels && $latest ne $labels[-1];
	# once is enough
	my $before = snapshot($repo);
	($code, $out, $err) = $ours->run('expire', '--no-checksum-page-error', grep { !/^--set/ } @options) if !grep { /^--set/ } @options;
	push @wrong, "again: $_" for tree_diff($before, snapshot($repo));
	return @wrong;
}

sub line_diff {
	my ($one, $two) = @_;
	my (%one, %two);
	@one{@$one} = @two{@$two} = ();
	return ((map { "only ours: $_" } grep { !exists $two{$_} } @$one), map { "only theirs: $_" } grep { !exists $one{$_} } @$two);
}

my %did;
for my $number ($seed .. $seed + $cases - 1) {
	my $history = PgStrata::History->new(seed => $number, now => $now);
	my @options = policy($history);
	run_command([ 'rm', '-rf', $repo ]);
	$history->write($repo);
	copy_of($repo, $theirs_repo);
	my ($running) = running();
	my $before = snapshot($repo);
	my ($code, $dry) = $ours->run('expire', '--dry-run', '--no-checksum-page-error', @options);
	my @wrong = tree_diff($before, snapshot($repo));
	@wrong = map { "dry run: $_" } @wrong;
	push @wrong, judge($history, $running, $dry, @options);
	my $after = snapshot($repo);
	$did{backups} += grep { /backup\.manifest$/ && !exists $after->{$_} } keys %$before;
	$did{wal} += grep { m{^archive/.*[0-9A-F]{24}} && !exists $after->{$_} } keys %$before;
	$did{timelines} += grep { /\d\.history$/ && !exists $after->{$_} } keys %$before;
	$did{manifests} += grep { /manifest\.gz$/ && !exists $after->{$_} } keys %$before;
	next if !@wrong;
	fail("seed $number: @options");
	diag(join "\n", "SEED=$number CASES=1 NOW=$now", splice @wrong, 0, 30);
}
pass("$cases repositories");
cmp_ok($did{$_}, '>', 0, "$did{$_} $_ went") for sort keys %did;

# --- where we differ on purpose ---

# A full backup has lost its manifest: the original removes it with all that depends on it.
my $history = PgStrata::History->new(seed => 1, regular => 1, clusters => 1);
run_command([ 'rm', '-rf', $repo ]);
$history->write($repo);
my ($full) = grep { $_->{type} eq 'full' } @{$history->{backups}};
my @set = grep { $_->{label} ne $full->{label} && ($_->{refs}[0] // '') eq $full->{label} } @{$history->{backups}} if $full;
cmp_ok(scalar(@set), '>', 0, 'a full backup with others on it');
unlink "$repo/backup/demo/$full->{label}/backup.manifest" or die "unlink: $!";
my $before = snapshot($repo);
$ours->run_ok('expire', '--repo1-retention-full=9', { name => 'a lost manifest',
	like => qr/WARN: repo1: backup \Q$set[0]{label}\E has a manifest but cannot be listed; it is not removed/ });
my @gone = grep { !/^backup\/demo\/backup\.info/ } tree_diff($before, snapshot($repo));
is_deeply(\@gone, [], 'no file is removed');

done_testing();
