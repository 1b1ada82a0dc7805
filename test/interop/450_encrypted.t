# Encrypted repositories, shared by both programs: each reads what the other wrote, with odd passphrases and every codec;
# the files are encrypted with the same keys, and a wrong passphrase is refused by both.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

my %bundle = ('repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB', 'repo1-bundle-size' => '1MiB');
my @cases = (
	[ none => 'correct horse  battery', 'ours', { 'archive-copy' => 'y' } ],
	[ gz => '# "no" comment; a=b \\', 'theirs', {%bundle} ],
	[ zst => 'äöü€ß [global]', 'theirs', { 'process-max' => 2 } ],
);
push @cases, [ lz4 => "'\$HOME' `id` %f %p", 'ours', { 'process-max' => 2 } ],
	[ bz2 => join('', 'x' x 600, ' long'), 'theirs', { %bundle, 'archive-copy' => 'y' } ] if full_run();

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my @stanzas; # { name, ours, theirs, maker: who creates the stanza, labels }
for my $case (@cases) {
	my ($codec, $pass, $maker, $options) = @$case;
	utf8::encode($pass);
	my $ours = PgStrata::Stanza->new(cluster => $pg, id => $codec, options => { global => { %$options,
		'compress-type' => $codec, 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $pass } });
	push @stanzas, { name => $codec, ours => $ours, theirs => $ours->using(pgbackrest()), maker => $maker, labels => [],
		bundled => exists $options->{'repo1-bundle'} };
}
my %name = (ours => 'pgstrata', theirs => 'pgbackrest');
my %other = (ours => 'theirs', theirs => 'ours');
my $got = work_dir() . '/got';

sub sql { $pg->psql($_) for @_ }

# Even segments are pushed by one program, odd ones by the other.
sub alternate_pushes {
	archive_into($pg, map { $_->{ours} } @stanzas);
	my $script = work_dir() . '/pgbackrest-push';
	my $even = slurp($script);
	my $odd = $even =~ s/\Q$stanzas[0]{ours}{program}\E/$stanzas[0]{theirs}{program}/gr;
	s/^#!.*\nset -e\n// for $even, $odd;
	spew($script, "#!/bin/sh\nset -e\ncase \$1 in\n*[02468ACE])\n$even;;\n*)\n$odd;;\nesac\n");
}

# Both programs know the same, whoever wrote it.
sub same_view {
	my ($s, $name) = @_;
	my @pair = ($s->{ours}, $s->{theirs});
	for my $options ([], map { ["--set=$_"] } @{ $s->{labels} }) {
		same_info(@pair, "$s->{name}, $name", @$options);
		same_info_text(@pair, "$s->{name}, $name", @$options);
	}
}

sub verified {
	my ($s) = @_;
	$s->{theirs}->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => "$s->{name}: verify by pgbackrest", like => qr/^status: ok$/m,
			unlike => qr/ERROR|WARN|(?:invalid|missing|other): [1-9]/ });
}

# --- stanzas, WAL and backups by both ---

alternate_pushes();
$pg->start;
for my $s (@stanzas) {
	my ($maker, $other) = ($s->{maker}, $other{ $s->{maker} });
	$s->{$maker}->run_ok('stanza-create', { name => "$s->{name}: $name{$maker} creates the stanza" });
	my $before = snapshot($s->{ours}->path('repo'));
	$s->{$other}->run_ok('stanza-create',
		{ name => "$s->{name}: it is valid for $name{$other}", like => qr/already exists on repo1 and is valid/ });
	same_tree($before, snapshot($s->{ours}->path('repo')), "$s->{name}: and stays as it is");
	same_view($s, 'without backups');
}
drop_templates($pg);
odd_content($pg, work_dir() . '/place');
sql('CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 5000) AS id', 'CHECKPOINT');

for my $s (@stanzas) {
	$s->{$_}->run_ok('check', { name => "$s->{name}: check by $name{$_}", like => qr/successfully archived to '/ })
		for qw(ours theirs);
	push @{ $s->{labels} }, backup_by($s->{ours}, '--type=full', '--no-repo1-bundle', '--annotation=by=us');
}
sql("UPDATE t SET text = 'changed' WHERE id % 1000 = 0", 'CHECKPOINT');
spew($pg->data . '/extra/same.bin', 'no more');
for my $s (@stanzas) {
	push @{ $s->{labels} }, backup_by($s->{theirs}, '--type=diff');
	like($s->{labels}[1], qr/^\Q$s->{labels}[0]\E_/, "$s->{name}: their diff belongs to our full backup");
	push @{ $s->{labels} }, backup_by($s->{theirs}, '--type=full');
	same_view($s, 'with backups of both');
	verified($s);
}
my $query = 'SELECT count(*), sum(id), md5(string_agg(text, NULL ORDER BY id)) FROM t';
sql("INSERT INTO t SELECT id, 'only in WAL' FROM generate_series(5001, 5100) AS id");
my $rows = $pg->psql($query);
sql('SELECT pg_switch_wal()', "INSERT INTO t SELECT 0, 'x' WHERE false", 'CREATE TABLE last ()');
ok($pg->wait_archived($pg->switch_wal), 'everything is archived');

for my $s (@stanzas) {
	my $stored = stored_segments($s->{ours});
	my @names = sort keys %$stored;
	my (@wrong, %seen);
	for my $name (@names[ -6 .. -1 ]) {
		my $pushed_by = $name =~ /[02468ACE]$/ ? 'ours' : 'theirs';
		$seen{$pushed_by}++;
		my ($code) = $s->{ $other{$pushed_by} }->run('archive-get', $name, $got);
		push @wrong, $name if $code || index($stored->{$name}, "$name-" . sha1_hex(slurp($got))) < 0;
		unlink $got;
	}
	is("@wrong", '', "$s->{name}: each fetches the other's segments");
	is_deeply(\%seen, { ours => 3, theirs => 3 }, "$s->{name}: of both");
	my @files = grep { m{/(?!archive\.info)[^/]*$} && -f } glob $s->{ours}->path('repo', 'archive', 'demo', '*', '*', '*');
	is(scalar(grep { slurp($_) !~ /^Salted__/ } @files), 0, "$s->{name}: all of it is encrypted");

	# what one has pushed is no other thing when the other pushes it
	my $file = work_dir() . "/$names[-1]";
	for my $by (qw(ours theirs)) {
		$s->{$by}->run('archive-get', $names[-1], $file);
		$s->{$by}->run_ok('archive-push', $file, { name => "$s->{name}: pushed again by $name{$by}",
			like => qr/already exists in the repo1 archive with the same checksum/ });
	}
	unlink $file;
}
$pg->stop;

# --- a wrong passphrase, and none ---

for my $s (@stanzas[0, 1]) {
	my $before = snapshot($s->{ours}->path('repo'));
	for my $how ([ wrong => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'wrong' } ], [ none => {} ]) {
		my ($name, $options) = @$how;
		my $ours = PgStrata::Stanza->new(cluster => $pg, id => "$s->{name}-$name",
			options => { global => { 'repo1-path' => $s->{ours}->path('repo'), %$options } });
		my $theirs = $ours->using(pgbackrest());
		my ($segment) = keys %{ stored_segments($s->{ours}) };
		for my $command ([ 'stanza-create', '--no-online' ], [ 'backup', '--no-online', '--type=full' ],
			[ 'archive-get', $segment, $got ], [ 'restore', '--delta' ]) {
			my ($their_code) = $theirs->run(@$command);
			isnt($their_code, 0, "$s->{name}, passphrase $name: $command->[0] fails with theirs");
			note("pgbackrest $command->[0]: $their_code");
			$ours->run_fail(@$command, { name => "$s->{name}, passphrase $name: and with ours", like => qr/Crypto|\[095\]/ });
		}
		ok(!-e $got, "$s->{name}, passphrase $name: nothing was delivered");
	}
	same_tree($before, snapshot($s->{ours}->path('repo')), "$s->{name}: and the repository is as it was");
}

# --- restores by both ---

rename $pg->data, work_dir() . '/away' or die "rename: $!";
for my $s (@stanzas) {
	for my $label (@{ $s->{labels} }) {
		my @trees;
		for my $program ($s->{theirs}, $s->{ours}) {
			restore_to($program, $pg->data, '--type=none', "--set=$label");
			push @trees, restored_tree($pg->data);
		}
		same_tree(@trees, "$s->{name}: both restore $label to the same files");
	}
}
my $restored = PgStrata::Cluster->new(name => 'main', init => 0);
for my $pair ([ $stanzas[0], 'theirs', 0 ], [ $stanzas[1], 'ours', 1 ], [ $stanzas[1], 'ours', 2 ]) {
	my ($s, $by, $n) = @$pair;
	restore_to($s->{$by}, $restored->data, "--set=$s->{labels}[$n]", '--archive-mode=off');
	$restored->start;
	$restored->wait_for_recovery_end;
	is($restored->psql($query), $rows, "$s->{name}: a server restored by $name{$by} has all rows");
	$restored->stop;
}

done_testing();
