# A stored repository with blocks in a chain of four backups, and what each kind of damage does to it.  The first nine
# cases are the faults of the original's documented list, with the exit code of its restore for each backup; its verify
# says of most of them that all is well.  Ours fails, and calls invalid exactly what cannot be restored: also where only
# the map of a file tells that it needs blocks of an older backup.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree make_path);
use JSON::PP ();
use PgStrata;
use PgStrata::Fixtures;
use Test::More;

need_zstd();

my $pg_path = work_dir() . '/pg';
my $name = 'pg18-zst-bundle-block';
my $stanza = unpack_fixture($name, $pg_path);
my ($repo, $sound) = ($stanza->path('repo'), work_dir() . '/sound');
my @lists = fixture_lists($name);
my @labels = map { $_->{label} } @lists;
my ($full, $second, $third, $fourth) = @labels;
my $wal = 'archive/demo/18-1/0000000100000000';
rename $repo, $sound or die "rename: $!";

# --- damage ---

sub change {
	my ($path, $offset, $change) = @_;
	my $bytes = slurp("$repo/$path");
	substr($bytes, $offset, 1) = $change->(substr $bytes, $offset, 1);
	spew("$repo/$path", $bytes);
}

# As the list has it: the byte that is there, and what it becomes.
sub poke {
	my ($path, $offset, $from, $to) = @_;
	change($path, $offset, sub { ord $_[0] == $from or die "$path is another file"; return chr $to });
}

sub flip { change(@_, sub { return $_[0] ^ "\x10" }) }
sub cut { truncate_file("$repo/$_[0]", $_[1]) }
sub gone { unlink map { "$repo/$_" } @_ or die "unlink: $!" }

# Rows of a manifest that are stored as blocks, as they say themselves, and who holds them: name => row.
sub block_rows {
	my ($label) = @_;
	my %row;
	for (split /\n/, slurp("$sound/backup/demo/$label/backup.manifest")) {
		next if !/^(pg_data.*?)=(\{"bi":\d+,"bim":.*\})$/;
		my $row = JSON::PP->new->decode($2);
		$row{$1} = { holder => $row->{reference} // $label, %$row, name => $1 } if $row->{size};
	}
	return \%row;
}

sub stored_in {
	my ($row) = @_;
	return "backup/demo/$row->{holder}/" . ($row->{bni} ? "bundle/$row->{bni}" : "$row->{name}.pgbi");
}

sub rot {
	my ($row, $offset) = @_;
	flip(stored_in($row), ($row->{bno} // 0) + $offset);
}

# --- judges ---

sub restore_all {
	my ($case) = @_;
	my @code;
	for my $list (@lists) {
		remove_tree($pg_path);
		mkdir $pg_path, 0700 or die "mkdir: $!";
		my ($code, $out, $err) = $stanza->run('restore', "--set=$list->{label}", '--type=none');
		push @code, $code;
		if ($code) {
			ok(!-e "$pg_path/global/pg_control", "$case->{name}: $list->{label} fails and leaves nothing to start");
			push @{ $case->{text} }, "$out$err";
			next;
		}
		my @wrong = list_differences($list->{entry}, found_everywhere($list->{entry}, $pg_path));
		is(join("\n", splice @wrong, 0, 10), '', "$case->{name}: $list->{label} is restored as listed");
	}
	return @code;
}

# The labels that the report calls invalid, and all that was said.
sub verify {
	my (@options) = @_;
	my ($code, $out, $err) = $stanza->run('verify', '--output=text', '--log-level-console=detail', @options);
	my @invalid = $out =~ /^  backup: (\S+), status: (?:invalid|manifest missing)/mg;
	return ($code, \@invalid, "$out$err");
}

sub try_damage {
	my ($case) = @_;
	remove_tree($repo);
	run_command([ 'cp', '-a', $sound, $repo ]);
	$case->{damage}->();
	my @codes = restore_all($case);
	is("@codes", "@{ $case->{restore} }", "$case->{name}: exit codes of restore") if $case->{restore};
	like(join("\n", @{ $case->{text} // [] }), $case->{says}, "$case->{name}: restore says what is wrong")
		if $case->{says};
	my ($code, $invalid, $text) = verify();
	my @expect = map { $labels[$_] } grep { $codes[$_] || $case->{damaged}{ $labels[$_] } } 0 .. $#labels;
	is("@$invalid", "@expect", "$case->{name}: verify calls invalid what cannot be restored");
	is($code, 104, "$case->{name}: and fails") or diag($text);
	like($text, $_, "$case->{name}: verify says $_") for @{ $case->{verify} // [] };
	return if !$case->{sets};
	for my $i (0 .. $#labels) {
		($code, $invalid) = verify("--set=$labels[$i]");
		is("$code @$invalid", $codes[$i] ? "104 $labels[$i]" : '0 ', "$case->{name}: verify --set=$labels[$i]");
	}
}

# --- the documented list ---

my $last = "$third/bundle/1";
my $map = "backup/demo/$third/pg_data/base/5/16384.pgbi";
my @documented = (
	{ name => 'e1, a byte of a super block', restore => [ (26) x 4 ],
		damage => sub { poke("backup/demo/$full/bundle/1", 1051115, 0xcb, 0x34) },
		says => qr/error restoring '\S+base\/5\/1255'/,
		verify => [ qr/backup $full cannot be restored: 1 file damaged: 'pg_data\/base\/5\/1255'$/m,
			map { qr/backup $_ cannot be restored: 1 file damaged: .*1255' \(stored in backup $full\)/ }
				@labels[1 .. 3] ] },
	{ name => 'e2, a byte of a file stored whole', restore => [ (26) x 4 ],
		damage => sub { poke("backup/demo/$full/bundle/1", 1263064, 0xec, 0x13) },
		says => qr/error restoring '\S+extra\/small\.bin'/ },
	# The files are all right, but no server gets consistent without that segment: verify says so of the backup.
	{ name => 'e3, the WAL of a backup', restore => [ (0) x 4 ],
		damage => sub { gone("$wal/000000010000000000000010-e3c80f96c8023f0b161071d46f1aa974aa0d97aa.zst") },
		verify => [ qr/backup $second cannot become consistent.*000000010000000000000010 is missing/ ] },
	# Only that backup: blocks that a later one needs of this file stand before the map, and are sound.
	{ name => 'e4, the end of a map', restore => [ 0, 0, 42, 0 ], damage => sub { cut($map, 5420) },
		says => qr/unable to read block map for 'base\/5\/16384'/, sets => 1,
		verify => [ qr/backup $third cannot be restored: 1 file damaged: 'pg_data\/base\/5\/16384'/ ] },
	# Both copies of an info file, and of a manifest, must be right, though the reading programs need one.
	{ name => 'e5, backup.info', restore => [ (0) x 4 ], damage => sub { gone('backup/demo/backup.info') },
		verify => [ qr/backup\.info' is missing: only its copy is left/ ] },
	{ name => 'e6, a manifest', restore => [ (0) x 4 ],
		damage => sub { gone("backup/demo/$second/backup.manifest") },
		verify => [ qr/backup $second restores by the copy of its manifest, but the next backup or expire/ ] },
	{ name => 'e7, a byte of WAL', restore => [ (0) x 4 ],
		damage => sub {
			poke("$wal/000000010000000000000012-25c1c7fc4bb169f2324c45133af0dd7e740b9b29.zst", 107, 0x2a, 0xd5);
		},
		verify => [ qr/backup $third cannot become consistent.*000000010000000000000012 is not usable/ ] },
	{ name => 'e8, a digit of a manifest', restore => [ (0) x 4 ],
		damage => sub {
			change("backup/demo/$fourth/backup.manifest", 1471, sub { return ($_[0] + 1) % 10 });
		},
		verify => [ qr/backup $fourth restores by the copy of its manifest only: .*invalid checksum/ ] },
	{ name => 'e9, a bundle', restore => [ 0, 0, 55, 55 ], damage => sub { gone("backup/demo/$last") },
		says => qr/unable to open missing file '\S+$last'/, sets => 1,
		verify => [ qr/backup $third cannot be restored: 12 files missing/,
			qr/backup $fourth cannot be restored: 3 files missing: .*\(with blocks in backup $third\)/ ] },
);
try_damage($_) for @documented;

# --- what only maps tell ---

my ($big) = sort { $b->{size} <=> $a->{size} } values %{ block_rows($full) };
my $again = block_rows($second)->{ $big->{name} };
ok($again, "$big->{name} has blocks of its own in the second backup") or die;
my @maps = (
	{ name => 'a block that all need', restore => [ (26) x 4 ], sets => 1,
		damage => sub { rot($big, 100) }, says => qr/error restoring '\S+\Q@{[ substr $big->{name}, 8 ]}\E'/,
		verify => [ map { qr/backup $_ cannot be restored: 1 file damaged: .*\(with blocks in backup $full\)/ }
			@labels[1 .. 3] ] },
	{ name => 'the blocks of the full backup', restore => [ (55) x 4 ],
		damage => sub { gone(stored_in($big)) } },
	{ name => 'the map of the full backup', restore => [ 42, 0, 0, 0 ], sets => 1,
		damage => sub { rot($big, $big->{'repo-size'} - $big->{bim} + 1) } },
	{ name => 'a block of the second backup', damage => sub { rot($again, 20) }, sets => 1 },
	# Nobody vouches for its blocks any more, but put together they make the files that later backups list.
	{ name => 'both manifests of the second backup', restore => [ 0, 55, 0, 0 ],
		damage => sub { gone(map { "backup/demo/$second/backup.manifest$_" } '', '.copy') } },
	{ name => 'and a block of it',
		damage => sub {
			gone(map { "backup/demo/$second/backup.manifest$_" } '', '.copy');
			rot($again, 20);
		} },
);
try_damage($_) for @maps;

# --- anywhere ---

my $seed = $ENV{TEST_SEED} // time;
diag("TEST_SEED=$seed");
srand $seed;
my %rows = map { $_ => block_rows($_) } @labels;
for my $round (1 .. (full_run() ? 25 : 2)) {
	my $label = $labels[rand @labels];
	my @names = sort keys %{ $rows{$label} };
	my $row = $rows{$label}{ $names[rand @names] };
	my $offset = int rand $row->{'repo-size'};
	# Backups whose own map is there are invalid at any rate: a restore does without the checksums of blocks that it
	# has, the next backup does not.
	my %damaged = map { $_ => 1 } grep { ($rows{$_}{ $row->{name} }{holder} // '') eq $row->{holder} } @labels;
	try_damage({ name => "byte $offset of $row->{name} in $row->{holder}", damaged => \%damaged,
		damage => sub { rot($row, $offset) } });
}

done_testing();
