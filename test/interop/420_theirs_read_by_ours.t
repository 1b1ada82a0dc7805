# What the original writes, pgStrata reads and extends: full, differential and incremental backups of every codec, in
# bundles or not, hard linked or not, and its WAL.  What nobody reads any more or it has no key for it
# refuses by name and leaves alone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Path qw(make_path remove_tree);
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

my %bundle = ('repo1-bundle' => 'y');
my @cases = (
	[ none => { 'repo1-hardlink' => 'y' } ],
	[ gz => { 'process-max' => 2 } ],
	[ lz4 => { %bundle, 'repo1-bundle-limit' => '32KiB', 'repo1-bundle-size' => '1MiB', 'process-max' => 2 } ],
	[ zst => { %bundle, 'archive-copy' => 'y' } ],
	[ bz2 => { %bundle, 'repo1-bundle-limit' => '8KiB', 'checksum-page' => 'n' } ],
);
push @cases, [ none => {%bundle} ], [ lz4 => { 'repo1-hardlink' => 'y' } ], [ zst => { 'checksum-page' => 'n' } ]
	if full_run();

my $space = work_dir() . '/ts1';
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my @stanzas; # { name, ours, theirs, labels }

sub add_stanza {
	my ($name, $options) = @_;
	my $ours = PgStrata::Stanza->new(cluster => $pg, id => $name, options => { global => $options });
	return { name => $name, ours => $ours, theirs => $ours->using(pgbackrest()), labels => [] };
}

for my $case (@cases) {
	my ($codec, $options) = @$case;
	my $name = join '-', $codec, map { s/repo1-//r . ($options->{$_} eq 'n' ? '_off' : '') } sort keys %$options;
	push @stanzas, add_stanza($name, { %$options, 'compress-type' => $codec });
}
my $blocks = add_stanza('blocks', { %bundle, 'repo1-block' => 'y', 'compress-type' => 'zst' });
$blocks->{more} = ['--beta'] if !pgbackrest_since('2.46');
my $secret = add_stanza('secret', { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'correct horse' });

sub sql { $pg->psql($_) for @_ }

sub their_backups {
	my ($type, @of) = @_;
	my @options = ("--type=$type", '--annotation=by=them');
	push @{ $_->{labels} }, backup_by($_->{theirs}, @options, @{ $_->{more} // [] }) for @of;
}

# --- server up ---

mkdir $space or die "mkdir: $!";
archive_into($pg, map { $_->{theirs} } @stanzas, $blocks, $secret);
$pg->start;
for my $s (@stanzas, $blocks, $secret) {
	$s->{theirs}->run_ok('stanza-create', { name => "$s->{name}: they create the stanza" });
	next if $s == $secret;
	my $before = snapshot($s->{ours}->path('repo'));
	$s->{ours}->run_ok('stanza-create',
		{ name => "$s->{name}: it is valid for us", like => qr/already exists on repo1 and is valid/ });
	same_tree($before, snapshot($s->{ours}->path('repo')), "$s->{name}: and stays as it is");
	same_info($s->{ours}, $s->{theirs}, "$s->{name}, without backups");
	same_info_text($s->{ours}, $s->{theirs}, "$s->{name}, without backups");
}
drop_templates($pg);
odd_content($pg, work_dir() . '/place');
sql("CREATE TABLESPACE ts1 LOCATION '$space'",
	'CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 20000) AS id',
	'CREATE TABLE u TABLESPACE ts1 AS SELECT * FROM t', 'CREATE TABLE gone AS SELECT * FROM t', 'CHECKPOINT');
their_backups('full', @stanzas, $blocks, $secret);

sql("UPDATE t SET text = 'changed' WHERE id = 10000", 'DROP TABLE gone', 'INSERT INTO u SELECT * FROM t', 'CHECKPOINT');
spew($pg->data . '/extra/same.bin', 'no more');
spew($pg->data . '/extra/x="1"', '');
utime 1_500_000_000, 1_500_000_000, $pg->data . '/extra/large.bin';
their_backups('diff', @stanzas);

sql('TRUNCATE u', 'CREATE TABLE later AS SELECT 1 AS id', 'CHECKPOINT');
spew($pg->data . '/extra/empty.bin.2', 'not empty');
unlink $pg->data . '/extra/-dash';
their_backups('incr', @stanzas, $blocks);

sub wal_comes_back {
	my ($s) = @_;
	my $stored = stored_segments($s->{ours});
	my @names = sort keys %$stored;
	@names = @names[0, 1, @names / 2, -2, -1] if !full_run();
	my $to = work_dir() . '/got';
	my @wrong;
	for my $name (@names) {
		my ($code) = $s->{ours}->run('archive-get', $name, $to);
		push @wrong, $name if $code || index($stored->{$name}, "$name-" . sha1_hex(slurp($to))) < 0;
		unlink $to;
	}
	is("@wrong", '', "$s->{name}: archive-get of their segments: @names");
	return ($names[0], $stored->{ $names[0] });
}

# A segment that they stored counts as pushed if it is the same, and never is stored twice.
sub push_again {
	my ($s, $segment, $stored) = @_;
	my $file = work_dir() . "/$segment";
	my ($folder) = $stored =~ m{(.*)/};
	my $before = snapshot($folder);
	$s->{ours}->run_ok('archive-get', $segment, $file, { name => "$s->{name}: get $segment" });
	$s->{ours}->run_ok('archive-push', $file, { name => "$s->{name}: pushed again",
		like => qr/already exists in the repo1 archive with the same checksum/ });
	flip_bit($file, 500_000);
	$s->{ours}->run_fail('archive-push', $file,
		{ name => "$s->{name}: other content is refused", code => 45, like => qr/\Q$segment\E/ });
	same_tree($before, snapshot($folder), "$s->{name}: what they stored stays");
	unlink $file;
}

for my $s (@stanzas) {
	my @pair = ($s->{ours}, $s->{theirs});
	for my $options ([], map { ["--set=$_"] } @{ $s->{labels} }) {
		same_info(@pair, $s->{name}, @$options);
		same_info_text(@pair, $s->{name}, @$options);
	}
	same_info(@pair, $s->{name}, "--type=$_") for qw(full diff incr);
	same_info_text(@pair, $s->{name}, '--type=diff');
	$s->{ours}->run_ok('check',
		{ name => "$s->{name}: check by pgstrata", like => qr/successfully archived to '/ });
	push_again($s, wal_comes_back($s));
}
same_info($blocks->{ours}, $blocks->{theirs}, 'blocks', @$_) for [], map { ["--set=$_"] } @{ $blocks->{labels} };
same_info_text($blocks->{ours}, $blocks->{theirs}, 'blocks');

# Ours on top of theirs.
for my $s (@stanzas) {
	push @{ $s->{labels} }, map { backup_by($s->{ours}, "--type=$_") } qw(incr full);
	same_info($s->{ours}, $s->{theirs}, "$s->{name}, with ours");
	same_info_text($s->{ours}, $s->{theirs}, "$s->{name}, with ours");
	$s->{theirs}->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => "$s->{name}: verify", like => qr/^status: ok$/m, unlike => qr/ERROR|WARN/ });
}
my $query = 'SELECT count(*), sum(id), md5(string_agg(text, NULL ORDER BY id)) FROM t';
my $rows = $pg->psql($query);
ok($pg->wait_archived($pg->switch_wal), 'everything is archived');
$pg->stop;

# --- refusals: what cannot be read is neither touched nor lost ---

{
	my $data = work_dir() . '/refused';
	my ($code) = run_command([ 'cp', '-a', $pg->data, $data ]);
	SKIP: {
		skip 'cannot here: this pgbackrest stores blocks as everybody reads them', 5 if pgbackrest_since('2.46');
		my $before = snapshot($data);
		$blocks->{ours}->run_fail('restore', "--pg1-path=$data", '--delta', '--type=none', { code => 67,
			name => 'blocks of a test release: restore is refused',
			like => qr/was stored as blocks by a test of pgBackRest 2\.\d+/ });
		same_tree($before, snapshot($data), 'and the cluster in its way is as it was');
		$blocks->{ours}->run_fail('backup', '--no-online', '--type=incr', { name => 'nothing is based on them',
			like => qr/has blocks that a test of pgBackRest 2\.\d+ stored.*\n.*use --type=full/ });
		$blocks->{ours}->run_fail('verify', { code => 104, name => 'and verify says so',
			like => qr/backup '$blocks->{labels}[1]' cannot be restored but by pgBackRest 2\.\d+/ });
	}

	my $plain = PgStrata::Stanza->new(cluster => $pg, id => 'no-pass',
		options => { global => { 'repo1-path' => $secret->{ours}->path('repo') } });
	my ($segment) = sort keys %{ stored_segments($secret->{ours}) };
	my $wal = (glob $pg->data . '/pg_wal/' . '?' x 24)[0];
	my $before = { %{ snapshot($secret->{ours}->path('repo')) }, %{ snapshot($data) } };
	$plain->run_fail(@$_, { name => "encrypted, without a passphrase: @$_[0] is refused", like => qr/encrypted/ })
		for [ 'stanza-create', '--no-online' ], [ 'backup', '--no-online', '--type=full' ],
		[ 'restore', "--pg1-path=$data", '--delta' ], [ 'archive-push', $wal ],
		[ 'archive-get', $segment, work_dir() . '/got' ];
	$plain->run_ok('info',
		{ name => 'encrypted: info says so', like => qr/error \(other\)\n.*\[CryptoError\] .*encrypted/ });
	is($plain->info->[0]{status}{code}, 99, 'encrypted: status 99');
	same_tree($before, { %{ snapshot($secret->{ours}->path('repo')) }, %{ snapshot($data) } },
		'encrypted: nothing was written or removed');
	ok(!-e work_dir() . '/got', 'encrypted: no WAL was delivered');
	remove_tree($data);
}

# --- restores ---

rename $pg->data, work_dir() . '/away' or die "rename: $!";
rename $space, "$space.away" or die "rename: $!";

sub empty_space {
	remove_tree($space);
	mkdir $space or die "mkdir: $!";
}

for my $s (@stanzas, pgbackrest_since('2.46') ? $blocks : ()) {
	my @labels = grep { defined } @{ $s->{labels} }[full_run() ? (0 .. 4) : (0, 2, 3)];
	for my $label (@labels) {
		my @trees;
		for my $program ($s->{theirs}, $s->{ours}) {
			empty_space();
			restore_to($program, $pg->data, '--type=none', "--set=$label");
			push @trees, restored_tree($pg->data);
		}
		same_tree(@trees, "$s->{name}: both restore $label to the same files");
	}
}

# Links and tablespaces where they were, and elsewhere.
my $links = work_dir() . '/place';
my $map = work_dir() . '/map';
rename $links, "$links.away" or die "rename: $!";
for my $options ([ '--link-all', "--tablespace-map-all=$map" ], [ "--tablespace-map=ts1=$map/one",
	"--link-map=extlink=$map/dir", "--link-map=custom.conf=$map/etc/own.conf", "--link-map=extra=$map/extra" ]) {
	my @trees;
	for my $program ($stanzas[1]{theirs}, $stanzas[1]{ours}) {
		empty_space();
		remove_tree($links, $map);
		make_path("$links/etc", "$map/etc");
		restore_to($program, $pg->data, '--type=none', "--set=$stanzas[1]{labels}[2]", @$options);
		push @trees, restored_tree($pg->data);
	}
	same_tree(@trees, "both restore alike with @$options");
	cmp_ok(scalar(grep { /^l / } values %{ $trees[0] }), '>=', 3, 'with links');
}

# On servers: the last of theirs, by us, with their WAL.
my $restored = PgStrata::Cluster->new(name => 'main', init => 0);
for my $s (full_run() ? @stanzas : @stanzas[2, 3]) {
	empty_space();
	restore_to($s->{ours}, $restored->data, "--set=$s->{labels}[2]", '--archive-mode=off');
	$restored->start;
	$restored->wait_for_recovery_end;
	is($restored->psql($query), $rows, "$s->{name}: the restored server has all rows");
	$restored->stop;
}

done_testing();
