# Repositories that the original wrote and that stay as they are: what info prints, and each file that a restore makes,
# are compared with lists made by the original and proven by an independent decoder.  And what is not of format 5 is
# refused by name.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA;
use File::Path qw(remove_tree);
use JSON::PP ();
use PgStrata;
use PgStrata::Fixtures;
use PgStrata::Interop;
use Test::More;

need_zstd();

my $data = fixture_dir();
my $pg_path = work_dir() . '/pg';

# In a restored cluster, what is as the backup holds it: the restore makes the checkpoint in pg_control impossible.
sub control_as_stored {
	my ($dir) = @_;
	my $bytes = slurp("$dir/global/pg_control");
	my ($sum_at) = grep { unpack('V', substr $bytes, $_, 4) == crc32c(substr $bytes, 0, $_) } map { 4 * $_ } 60 .. 80;
	die "no checksum in $dir/global/pg_control" if !defined $sum_at;
	my ($high, $low) = slurp("$dir/backup_label") =~ m{^CHECKPOINT LOCATION: (\w+)/(\w+)$}m or die 'no checkpoint';
	substr($bytes, 32, 8) = pack 'VV', hex $low, hex $high;
	substr($bytes, $sum_at, 4) = pack 'V', crc32c(substr $bytes, 0, $sum_at);
	return $bytes;
}

sub crc32c {
	my $crc = 0xffffffff;
	for my $byte (unpack 'C*', $_[0]) {
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}

sub info_is_as_stored {
	my ($stanza, $name) = @_;
	my ($file) = grep { -e } "$data/$name.info-v260.json", "$data/$name.info.json";
	my $json = JSON::PP->new->utf8;
	my $stored = $json->decode(slurp($file));
	my ($code, $out) = $stanza->run('info', '--output=json', '--log-level-console=off');
	is_deeply($json->decode($out), $stored, "$name: info --output=json, field by field");
	is($out, slurp($file) =~ s/\n\z//r, "$name: and byte for byte");
	return if !-e "$data/$name.info.txt";
	local $ENV{TZ} = 'UTC';
	($code, $out) = $stanza->run('info', '--log-level-console=off');
	is($out, slurp("$data/$name.info.txt"), "$name: info, byte for byte");
}

# Each stored byte is as it was, and so are the blocks that maps name; pages that were damaged in the cluster are told.
sub verify_finds_nothing {
	my ($stanza, $name) = @_;
	my ($code, $out) = $stanza->run('verify', '--output=text');
	my @finds = grep { !/restores only with --no-checksum-page-error/ } $out =~ /^P00   WARN: (.*)$/mg;
	is(join("\n", @finds), '', "$name: verify finds nothing");
	unlike($out, qr/^  (?:archiveId|backup):/m, "$name: in no archive and no backup");
	my ($set) = ($stanza->labels)[-2];
	$stanza->run_ok('verify', '--output=text', "--set=$set", { name => "$name: nor in $set", unlike => qr/status:/ });
}

# Releases before 2.60 leave pg_control as it was and make recovery.signal also for type none.
sub as_old_releases_do {
	my ($expected, $found) = @_;
	$found->{'recovery.signal'} = $expected->{'recovery.signal'} if !exists $found->{'recovery.signal'};
	$found->{'global/pg_control'}[3] = Digest::SHA::sha256_hex(control_as_stored($pg_path));
}

# A walk through N places: forward and back, or along each way from one to another, each once.
sub walk {
	my ($n) = @_;
	return (0 .. $n - 1, reverse 0 .. $n - 2) if !full_run();
	return ((map { my $i = $_; map { ($i, $_) } $i + 1 .. $n - 1 } 0 .. $n - 2), 0);
}

# Restore as each list says, each over what was restored before, and compare.
sub restores_are_as_listed {
	my ($stanza, $name) = @_;
	my $old = $name =~ /-v245-/;
	my (%seen, $delta);
	remove_tree($pg_path);
	for my $dir ($pg_path, map { fixture_place($_) } qw(@ts @etc)) {
		mkdir $dir, 0700 or die "mkdir $dir: $!";
	}
	my @lists = fixture_lists($name);
	for my $list (@lists[walk(scalar @lists)]) {
		my @options = map { s/=\K(\@\w+)/fixture_place($1)/er } @{ $list->{options} };
		my $what = "$name: restore $list->{label} @{ $list->{options} }" . ($delta ? ' --delta' : '');
		$stanza->run_ok('restore', "--set=$list->{label}", @options, $delta ? '--delta' : (), { name => $what });
		$seen{ $list->{label} } = $delta = 1;
		my $found = found_everywhere($list->{entry}, $pg_path);
		as_old_releases_do($list->{entry}, $found) if $old;
		my @wrong = list_differences($list->{entry}, $found);
		splice @wrong, 10;
		is(join("\n", @wrong), '', 'as listed, ' . keys(%{ $list->{entry} }) . ' entries');
	}
	is_deeply([ sort keys %seen ], [ $stanza->labels ], "$name: that were all listed backups");
}

# The stored WAL of another server version, given out for a cluster that is only files.
sub wal_comes_back {
	my ($stanza, $name) = @_;
	my $stored = stored_segments($stanza);
	my $to = work_dir() . '/got';
	my @wrong;
	for my $segment (sort keys %$stored) {
		my ($code) = $stanza->run('archive-get', $segment, $to);
		push @wrong, $segment if $code || index($stored->{$segment}, "$segment-" . sum_of(1, $to)) < 0;
		unlink $to;
	}
	cmp_ok(scalar keys %$stored, '>', 5, "$name: there are segments");
	is("@wrong", '', "$name: archive-get gives each as it was");
}

# --- format 5 as it was written ---

my %fixture;
for my $name (map { m{([^/]+)\.tar\.zst$} } sort glob "$data/*.tar.zst") {
	my $stanza = $fixture{$name} = unpack_fixture($name, $pg_path);
	info_is_as_stored($stanza, $name);
	verify_finds_nothing($stanza, $name) if $name !~ /-aes\z/; # of their WAL not all is here
	restores_are_as_listed($stanza, $name);
	remove_tree(fixture_place());
}

# What is said of a file that is stored as blocks: all of it was written, or how much was.
my $walk = $fixture{'pg18-walk-example'};
my @walks = $walk->labels;
remove_tree($pg_path);
mkdir $pg_path, 0700 or die "mkdir: $!";
sub walk_line {
	my ($label, $line, $name, @options) = @_;
	$walk->run_ok('restore', "--set=$label", '--type=none', @options, { name => "walk.bin: $name",
		like => qr{ DETAIL: restore file \Q$pg_path\E/walk\.bin$line\.\d\d%\) checksum [0-9a-f]{40}$}m });
}
walk_line($walks[1], qr{ \(bi 40\.5KB, \d+}, 'all of it');
flip_bit("$pg_path/walk.bin", 9000);
walk_line($walks[1], qr{ \(bi 8KB/40\.5KB, \d+}, 'one block', '--delta');
walk_line($walks[1], qr{ - exists and matches backup \(40\.5KB, \d+}, 'as it is', '--delta');
walk_line($walks[2], qr{ \(bi 8KB/40KB, \d+}, 'a shorter one with another block', '--delta');
walk_line($walks[1], qr{ \(bi 40\.5KB, \d+}, 'anew', '--delta', '--force');

my $links = $fixture{'pg18-gz-plain-links'};
SKIP: {
	skip 'cannot here: somebody lets us write to /srv', 2 if -w '/srv' || -e '/srv/fixture';
	remove_tree($pg_path);
	$links->run_fail('restore', '--type=none', { name => 'links: a place that cannot be made is named',
		like => qr{/srv/fixture.*Permission denied} });
	ok(!-e "$pg_path/global/pg_control", 'links: and nothing is left that could be started');
}

my $bundle = $fixture{'pg18-bz2-bundle'};
my @labels = $bundle->labels;
remove_tree($pg_path);
$bundle->run_ok('restore', '--type=none');
wal_comes_back($bundle, 'pg18-bz2-bundle');

# --- what is not of format 5 ---

my $repo = $bundle->path('repo');
my $archive_info = "$repo/archive/demo/archive.info";
my $backup_info = "$repo/backup/demo/backup.info";
my ($segment) = sort keys %{ stored_segments($bundle) };
my $wal = work_dir() . "/$segment";
$bundle->run_ok('archive-get', $segment, $wal);

# Run a test on an altered repository, check that nobody wrote into it or into the cluster, and undo the change.
sub altered {
	my ($name, $alter, $test) = @_;
	my $kept = work_dir() . '/kept';
	run_command([ 'cp', '-a', $repo, $kept ]);
	$alter->();
	my @before = (snapshot($repo), snapshot($pg_path));
	$test->($name);
	same_tree($before[0], snapshot($repo), "$name: the repository stays as it is");
	same_tree($before[1], snapshot($pg_path), "$name: so does the cluster");
	remove_tree($repo);
	rename $kept, $repo or die "rename: $!";
}

sub info_says {
	my ($name, $like) = @_;
	my $info = $bundle->info;
	is($info->[0]{status}{code}, 99, "$name: info has status 99");
	like($info->[0]{repo}[0]{status}{message}, $like, "$name: and says why");
	$bundle->run_ok('info', { name => "$name: info as text too", like => qr/error \(other\)\n.*$like/s });
}

sub refuses {
	my ($name, $like, @command) = @_;
	$bundle->run_fail(@command, { name => "$name: $command[0] is refused", like => $like });
}

my @restore = ('restore', '--delta', '--type=none');
my @backup = ('backup', '--no-online', '--type=full');
my $six = qr/repository format 6, which pgStrata cannot read/;
my $as_six = sub { s/^backrest-format=5$/backrest-format=6/m or die 'no format' };

altered('unchanged', sub { edit_info_file($backup_info, sub { }) }, sub {
	is($bundle->info->[0]{status}{code}, 0, 'a checksum that this test computed is accepted');
});
altered('backup.info of format 6', sub { edit_info_file($backup_info, $as_six) }, sub {
	info_says($_[0], $six);
	refuses($_[0], $six, @$_) for \@restore, \@backup, [ 'stanza-create', '--no-online' ];
});
altered('archive.info of format 6', sub { edit_info_file($archive_info, $as_six) }, sub {
	info_says($_[0], $six);
	refuses($_[0], $six, @$_)
		for \@backup, [ 'archive-push', $wal ], [ 'archive-get', $segment, work_dir() . '/got' ];
	ok(!-e work_dir() . '/got', "$_[0]: no WAL is given out");
});
altered('one manifest of format 6', sub {
	edit_info_file("$repo/backup/demo/$labels[-1]/backup.manifest", $as_six);
}, sub {
	is_deeply([ $bundle->labels ], \@labels, "$_[0]: all backups are listed");
	refuses($_[0], $six, @restore);
	refuses($_[0], $six, @restore, "--set=$labels[-1]");
});
altered('a line of format 6 in backup.info', sub {
	edit_info_file($backup_info, sub { s/(\Q$labels[-1]\E=\{"backrest-format":)5/${1}6/ or die 'no line' });
	edit_info_file("$repo/backup/demo/$labels[-1]/backup.manifest", $as_six);
}, sub {
	is($bundle->info->[0]{backup}[-1]{backrest}{format}, 6, "$_[0]: info shows it");
	refuses($_[0], $six, @restore);
});
altered('encrypted files of format 6', sub {
	spew($_, 'PGBR006_', "\x9a" x 500) for map { ($_, "$_.copy") } $archive_info, $backup_info;
}, sub {
	info_says($_[0], $six);
	refuses($_[0], $six, @$_) for \@restore, \@backup, [ 'archive-push', $wal ];
});
altered('format 7', sub { edit_info_file($backup_info, sub { s/^backrest-format=5$/backrest-format=7/m }) }, sub {
	info_says($_[0], qr/expected format 5 but found 7/);
	refuses($_[0], qr/expected format 5 but found 7/, @$_) for \@restore, \@backup;
});
altered('a wrong checksum', sub {
	for my $file ($backup_info, "$backup_info.copy") {
		my $text = slurp($file);
		$text =~ s/^(db-catalog-version)=\d+$/$1=202506292/m or die 'no version';
		spew($file, $text);
	}
}, sub {
	info_says($_[0], qr/invalid checksum/);
	refuses($_[0], qr/invalid checksum/, @$_) for \@restore, \@backup;
});
$bundle->run_ok(@restore, { name => 'after all of that, the repository restores' });
$bundle->run_ok(@backup, { name => 'and takes a backup of a cluster whose server is not here' });

done_testing();
