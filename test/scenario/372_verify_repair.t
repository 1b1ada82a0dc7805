# verify --repair: WAL of one repository that is damaged or missing is replaced by the proven copy of another: a table of
# damages, with and without encryption, with another codec in each repository.  Afterwards plain verify finds nothing,
# and what the archive holds, decoded, is what it held before.  Where there is no proven copy, or two that differ, nothing
# is touched and the finding stays.  And whatever a killed repair leaves is the old file or the new one.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'autovacuum = off' ]);
my @repo = (undef, map { work_dir() . "/repo $_" } 1, 2, 3);
my $secret = { map { ("repo$_-cipher-type" => 'aes-256-cbc', "repo$_-cipher-pass" => "open sesame $_") } 1, 2 };
my %form = (plain => [ {}, qw(gz zst) ], aes => [ $secret, qw(lz4 none) ]);
my $id = $pg->version . '-1';
my ($stanza, $codec);

# Two repositories with another codec each: archived by one configuration per repository.
sub archive_by {
	my ($form, $secrets) = @_;
	my @commands = map {
		my $key = $_;
		my $push = PgStrata::Stanza->new(id => "$form$key", cluster => $pg, options => { global => { 'log-level-file' => 'off',
			'repo1-path' => $repo[$key], 'compress-type' => $codec->[$key], 'archive-mode-check' => 'n',
			map { ("repo1-$_" => $secrets->{"repo$key-$_"}) } grep { $secrets->{"repo$key-$_"} } qw(cipher-type cipher-pass) } });
		(my $c = $push->archive_command) =~ s/(['\\])/$1$1/g;
		$c;
	} 1, 2;
	$pg->conf_add('archive_mode = on', "archive_command = '" . join(' && ', @commands) . "'");
}

sub folder { return "$repo[$_[0]]/archive/demo/$id" }
sub files {
	my ($key) = @_;
	my @found;
	for my $dir (folder($key), map { folder($key) . "/$_" } grep { /^[0-9A-F]{16}$/ } entries(folder($key))) {
		push @found, map { "$dir/$_" } grep { -f "$dir/$_" } entries($dir);
	}
	return @found;
}
sub entries { opendir(my $in, $_[0]) or return (); return sort grep { !/^\./ } readdir $in }
sub stored {
	my ($key, $name) = @_;
	my ($file) = grep { m{/\Q$name\E(-|$)} } files($key);
	return $file;
}

# What archive-get gives for each name, from one repository alone.
sub decoded {
	my ($key, @names) = @_;
	my %sum;
	for my $name (@names ? @names : map { m{.*/([0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history)} ? $1 : () } files($key)) {
		my $to = work_dir() . '/got';
		unlink $to;
		my ($code) = $stanza->run('archive-get', "--repo=$key", '--archive-timeout=100ms', $name, $to);
		$sum{$name} = $code == 0 ? Digest::SHA->new(1)->addfile($to)->hexdigest : "exit $code";
	}
	return \%sum;
}

# Nothing of it is a push in flight.
sub make_old { utime time - 3600, time - 3600, $_ for files($_[0]) }

my @kept = map { work_dir() . "/kept$_" } 0 .. 2;
sub keep { for (1, 2) { remove_tree($kept[$_]); copy_tree($repo[$_], $kept[$_]) } }
sub bring_back { for (1, 2) { remove_tree($repo[$_]); copy_tree($kept[$_], $repo[$_]) } }

sub overwrite { my ($file, $text) = @_; spew($file, $text) }

for my $form (sort keys %form) {
	my ($secrets, @codecs) = @{ $form{$form} };
	$codec = [ undef, @codecs ];
	remove_tree(grep { defined && -d } @repo);
	$stanza = PgStrata::Stanza->new(id => $form, cluster => $pg, options => { global => { 'log-level-file' => 'off',
		map({ ("repo$_-path" => $repo[$_], "repo$_-retention-full" => 9) } 1, 2), %$secrets,
		'archive-mode-check' => 'n' } });
	$pg->stop if $pg->running;
	archive_by($form, $secrets);
	$pg->start;
	$pg->drop_templates if $form eq 'aes';
	$stanza->run_ok('stanza-create', { name => "$form: stanza-create" });
	write_rows($pg, 2);
	$stanza->run_ok('backup', "--repo=$_", '--type=full', { name => "$form: backup to repo$_" }) for 1, 2;
	my ($backup) = grep { $_->{database}{'repo-key'} == 2 } @{ $stanza->info->[0]{backup} };
	write_rows($pg, 60);
	# a promotion leaves a history and a .partial
	$pg->stop;
	spew($pg->data . '/standby.signal');
	$pg->start;
	$pg->psql('SELECT pg_promote()');
	$pg->wait_for_recovery_end;
	write_rows($pg, 20);
	my $last = $pg->switch_wal;
	ok($pg->wait_archived($last), "$form: all is archived");
	make_old($_) for 1, 2;
	$stanza->run_ok('verify', "--repo=$_", { name => "$form: repo$_ is right" }) for 1, 2;
	my $before = decoded(1);
	my $count = files(1);
	my @segments = sort grep { /^[0-9A-F]{24}$/ && $_ gt $backup->{archive}{stop} } keys %$before;
	my ($history) = sort { $b cmp $a } grep { /history/ } keys %$before;
	my ($partial) = grep { /partial/ } keys %$before;
	my ($note) = grep { /\.backup/ } keys %$before;
	my ($one, $two) = @segments[1, 2];
	keep();
	my @table = (
		[ 'a bit flipped', sub { flip_bit(stored(1, $one), -6, 3) }, qr/damaged/ ],
		[ 'cut', sub { truncate_file(stored(1, $one), (-s stored(1, $one)) / 2) }, qr/damaged/ ],
		[ 'empty', sub { truncate_file(stored(1, $one), 0) }, qr/damaged/ ],
		[ 'the bytes of another segment', sub { copy(stored(1, $two), stored(1, $one)) or die }, qr/damaged/ ],
		[ 'the suffix of another codec', sub { my $f = stored(1, $one);
			rename $f, ($f =~ s/(-[0-9a-f]{40}).*/$1/r) . '.bz2' or die }, qr/damaged/ ],
		[ 'missing', sub { unlink stored(1, $one) or die }, qr/missing/ ],
		[ 'two missing', sub { unlink map { stored(1, $_) } $one, $two }, qr/missing/ ],
		[ 'missing, a temporary file left behind', sub { my $f = stored(1, $one); unlink $f;
			spew("$f.4711-00000000.pgbackrest.tmp", 'half'); chmod 0, "$f.4711-00000000.pgbackrest.tmp" }, qr/missing/ ],
		[ 'a segment that the backup needs', sub { unlink stored(1, first_of_backup()) }, qr/missing/ ],
		($history ? ([ 'the history', sub { overwrite(stored(1, $history), 'nonsense') }, qr/damaged/ ],
			[ 'no history', sub { unlink stored(1, $history) }, qr/missing/ ]) : ()),
		($partial ? [ 'the partial segment', sub { flip_bit(stored(1, $partial), -6, 1) }, qr/damaged/ ] : ()),
		[ 'the .backup file', sub { overwrite(stored(1, $note), 'nonsense') }, qr/damaged/ ],
		[ 'several things', sub { flip_bit(stored(1, $one), -6, 1); unlink stored(1, $two); flip_bit(stored(1, $segments[4]),
			-6, 2) }, qr/(damaged|missing)/ ],
	);
	sub first_of_backup {
		my ($b) = grep { $_->{database}{'repo-key'} == 1 } @{ $stanza->info->[0]{backup} };
		return $b->{archive}{start};
	}
	# by default the second time only what codecs and keys could make different
	@table = grep { $_->[0] =~ /flipped|suffix|^missing$|no history/ } @table if $form ne 'aes' && !full_run();
	my @touched = grep { defined } $one, $two, $segments[4], first_of_backup(), $history, $partial, $note;
	for my $row (@table) {
		my ($name, $damage, $was) = @$row;
		bring_back();
		$damage->();
		my $other = snapshot($repo[2]);
		$stanza->run_fail('verify', '--repo=1', { code => 104, name => "$form: $name: verify finds it" });
		$stanza->run_ok('verify', '--repo=1', '--repair', { name => "$form: $name: repaired",
			like => qr/WARN: repo1: WAL (segment|file) \S+ was $was.*has been replaced by the copy of repo2/ });
		$stanza->run_ok('verify', '--repo=1', { name => "$form: $name: right again" });
		my $after = full_run() ? decoded(1) : decoded(1, @touched);
		is_deeply($after, { map { $_ => $before->{$_} } keys %$after }, "$form: $name: all is what it was");
		is(scalar(files(1)), $count + ($name =~ /temporary/), "$form: $name: no file more, none less");
		same_tree($other, snapshot($repo[2]), "$form: $name: the other repository is untouched");
	}
	bring_back();
	my $tree = snapshot($repo[1]);
	$stanza->run_ok('verify', '--repo=1', '--repair', { name => "$form: nothing to repair" });
	same_tree($tree, snapshot($repo[1]), "$form: nothing is touched");

	# --- no proven copy ---
	flip_bit(stored($_, $one), -6, 1) for 1, 2;
	$tree = snapshot($repo[1]);
	$stanza->run_fail('verify', '--repo=1', '--repair', { code => 104, name => "$form: both copies are damaged",
		like => qr/repo2 has no copy of '\Q$one\E'/ });
	same_tree($tree, snapshot($repo[1]), "$form: both copies are damaged: nothing is touched");

	# --- histories that differ ---
	if ($history) {
		bring_back();
		my ($tli) = $history =~ /^(\w+)\./;
		my ($code, $out, $err) = $form eq 'plain' ? do {
			overwrite(stored(2, $history), "1\t0/1000000\tanother line\n");
			$stanza->run('verify', '--repo=1', '--repair') } : (104, '[045]', '');
		$tree = snapshot($repo[1]);
		is($code, 104, "$form: histories differ");
		like("$out$err", qr/\[045\]/, "$form: histories differ: it is told");
		same_tree($tree, snapshot($repo[1]), "$form: histories differ: nothing is touched");
	}

	# --- two valid copies with different content ---
	if ($form eq 'plain') {
		bring_back();
		$stanza->set(global => { 'repo3-path' => $repo[3], 'repo3-retention-full' => 9 });
		copy_tree($repo[2], $repo[3]);
		my $source = work_dir() . "/$one";
		$stanza->run('archive-get', '--repo=2', $one, $source);
		flip_bit($source, -100, 1);
		unlink stored(3, $one), stored(1, $one);
		my $third = PgStrata::Stanza->new(id => 'third', cluster => $pg, options => { global => { 'repo1-path' => $repo[3] } });
		$third->run_ok('archive-push', $source, { name => 'another content in repo3' });
		$tree = snapshot($repo[1]);
		$stanza->run_fail('verify', '--repo=1', '--repair', { code => 104, name => 'two copies with different content',
			like => qr/\[045\].*repo2: .*repo3: /s });
		same_tree($tree, snapshot($repo[1]), 'two copies with different content: nothing is touched');
		$stanza->set(global => { 'repo3-path' => undef, 'repo3-retention-full' => undef });
	}

	# --- who may not ---
	bring_back();
	unlink stored(1, $one);
	$stanza->run_ok('stop', { name => "$form: stop" });
	$stanza->run_fail('verify', '--repo=1', '--repair', { code => 62, name => "$form: a stop file holds" });
	$stanza->run_ok('start', { name => "$form: start" });
	$stanza->run_ok('verify', '--repair', { name => "$form: the lowest key without --repo" });
	bring_back();
}
$stanza->set(global => { map { ("repo2-$_" => undef) } qw(path retention-full cipher-type cipher-pass) });
$stanza->run_fail('verify', '--repair', { code => 31, name => 'nobody to ask', like => qr/needs a second repository/ });

done_testing();
