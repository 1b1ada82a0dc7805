# What pgStrata writes, the original takes for its own: it lists, checks, verifies, restores, extends and expires it,
# for every codec, with the same configuration file.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

# Each codec with other options, so that every two values of interest meet somewhere.
my @cases = (
	{ codec => 'none', 'process-max' => 1, 'archive-copy' => 'y' },
	{ codec => 'gz', 'process-max' => 3, 'compress-level' => 9, 'checksum-page' => 'n' },
	{ codec => 'lz4', 'process-max' => 2, 'buffer-size' => '16KiB' },
	{ codec => 'zst', 'process-max' => 4, 'archive-copy' => 'y', 'checksum-page' => 'y' },
	{ codec => 'bz2', 'process-max' => 2, 'compress-level' => 1, 'checksum-page' => 'n' },
);

my $space = work_dir() . '/ts1';
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off'],
	initdb => [ '-X', work_dir() . '/wal' ]);
my (%ours, %theirs, %label, %on_top);
for my $case (@cases) {
	my %options = %$case;
	my $codec = delete $options{codec};
	$ours{$codec} = PgStrata::Stanza->new(cluster => $pg, id => $codec,
		options => { global => { %options, 'compress-type' => $codec } });
	$theirs{$codec} = $ours{$codec}->using(pgbackrest());
}
my @codecs = map { $_->{codec} } @cases;
is_deeply([ sort @codecs ], [ sort(codecs()) ], 'all codecs are tried');

# The short run does some of the work for some of the codecs.
my %all_of_it = map { $_ => 1 } full_run() ? @codecs : qw(gz zst);

sub sql { $pg->psql($_) for @_ }

sub stanzas {
	for my $codec (@codecs) {
		$ours{$codec}->run_ok('stanza-create', { name => "$codec: we create the stanza" });
		$theirs{$codec}->run_ok('stanza-create',
			{ name => "$codec: it is valid for them", like => qr/already exists on repo1 and is valid/ });
	}
}

sub same_everything {
	my ($codec, $name, @labels) = @_;
	my @pair = ($ours{$codec}, $theirs{$codec});
	for my $options ([], map { ["--set=$_"] } @labels) {
		same_info(@pair, "$codec, $name", @$options);
		same_info_text(@pair, "$codec, $name", @$options);
	}
	same_info(@pair, "$codec, $name", '--type=full');
}

# Every segment of our archive comes back as what its name says.
sub wal_comes_back {
	my ($codec) = @_;
	my $stored = stored_segments($ours{$codec});
	my @names = sort keys %$stored;
	@names = @names[0, 1, @names / 2, -2, -1] if !full_run();
	my $to = work_dir() . '/got';
	my @wrong;
	for my $name (@names) {
		my ($code) = $theirs{$codec}->run('archive-get', $name, $to);
		push @wrong, $name if $code || index($stored->{$name}, "$name-" . sha1_hex(slurp($to))) < 0;
		unlink $to;
	}
	cmp_ok(scalar keys %$stored, '>', 5, "$codec: there are segments");
	is("@wrong", '', "$codec: pgbackrest fetches each as it was");
	my ($code) = $theirs{$codec}->run('archive-get', 'F' x 24, $to);
	is($code, 1, "$codec: and answers 1 for one that does not exist");
}

sub verifies {
	my ($codec, $backups) = @_;
	my $out = $theirs{$codec}->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => "$codec: verify", like => qr/^status: ok$/m,
			unlike => qr/ERROR|WARN|(?:invalid|missing|other): [1-9]/ });
	my @valid = $out =~ /backup: (\S+), status: valid/g;
	is(scalar @valid, $backups, "$codec: verify calls $backups backups valid");
	my ($checked, $good) = $out =~ /total WAL checked: (\d+), total valid WAL: (\d+)/;
	is($good, $checked, "$codec: and all WAL");
}

# Their backups on ours: what is unchanged stays a reference to our files.
sub extend {
	my ($codec) = @_;
	my @on_top = map { backup_by($theirs{$codec}, "--type=$_") } 'diff', $all_of_it{$codec} ? 'incr' : ();
	like($_, qr/^\Q$label{$codec}\E_/, "$codec: $_ belongs to our full backup") for @on_top;
	my ($diff) = grep { $_->{label} eq $on_top[0] } @{ $ours{$codec}->info->[0]{backup} };
	my $full = $ours{$codec}->info->[0]{backup}[0];
	is_deeply($diff->{reference}, [ $label{$codec} ], "$codec: it refers to ours");
	cmp_ok($diff->{info}{delta}, '<', $full->{info}{size} * 0.75, "$codec: and did not copy everything again");
	my $manifest = slurp($ours{$codec}->path('repo', 'backup', 'demo', $on_top[0], 'backup.manifest'));
	like($manifest, qr{^pg_data/extra/large\.bin=\{[^\n]*"reference":"\Q$label{$codec}\E"}m,
		"$codec: a file of ours that is unchanged was not copied");
	$on_top{$codec} = \@on_top;
}

# --- server up: stanzas, backups, WAL ---

mkdir $space or die "mkdir: $!";
archive_into($pg, @ours{@codecs});
$pg->start;
stanzas();
drop_templates($pg);
odd_content($pg, work_dir() . '/place');
sql("CREATE TABLESPACE ts1 LOCATION '$space'",
	'CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 20000) AS id',
	'CREATE TABLE u TABLESPACE ts1 AS SELECT * FROM t', 'CREATE TABLE empty (id int)',
	'CREATE UNLOGGED TABLE unlogged AS SELECT * FROM t', 'CHECKPOINT');

for my $codec (@codecs) {
	$label{$codec} = backup_by($ours{$codec}, '--type=full', '--annotation=by=us', '--annotation=note=q"\\ ü',
		'--exclude=extra/-dash');
	same_everything($codec, 'after our backup', $label{$codec});
	$theirs{$codec}->run_ok('check',
		{ name => "$codec: check by pgbackrest", like => qr/successfully archived to '/ });
	verifies($codec, 1);
}
sql('UPDATE t SET text = text || id WHERE id % 1000 = 0', 'INSERT INTO u SELECT * FROM t',
	'CREATE TABLE later (id int)', 'CHECKPOINT');
spew($pg->data . '/extra/same.bin', 'now something else');
spew($pg->data . '/extra/empty.bin.2', '');
for my $codec (@codecs) {
	extend($codec);
	same_everything($codec, 'after theirs on top', @{ $on_top{$codec} });
	$ours{$codec}->run_ok('check', { name => "$codec: check by pgstrata on top" });
	verifies($codec, 1 + @{ $on_top{$codec} });
}
sql("INSERT INTO t SELECT id, 'only in WAL' FROM generate_series(20001, 20100) AS id");
my $query = 'SELECT count(*), sum(id), md5(string_agg(text, NULL ORDER BY id)), (SELECT count(*) FROM u) FROM t';
my $rows = $pg->psql($query);
ok($pg->wait_archived($pg->switch_wal), 'everything is archived');
wal_comes_back($_) for @codecs;
for my $codec (grep { $all_of_it{$_} } @codecs) {
	backup_by($ours{$codec}, '--type=full');
	same_info($ours{$codec}, $theirs{$codec}, "$codec, second full backup");
}
$pg->stop;

# --- server down: the same cluster at rest, written by both ---

# Without what must differ: who, when, and what a compressor made of the same bytes.
sub twin_text {
	my ($stanza, $label) = @_;
	my $text = slurp($stanza->path('repo', 'backup', 'demo', $label, 'backup.manifest'));
	$text =~ s/\Q$label\E/LABEL/g;
	$text =~ s/^backrest-(version|checksum)=.*\n//mg;
	$text =~ s/^(backup-timestamp-\S+?)=.*\n/$1\n/mg;
	$text =~ s/^(option-(?:compress-level-network|buffer-size)=).*\n/$1\n/mg;
	$text =~ s/"rck":"\w+",?//g;
	$text =~ s/"repo-size":\d+,//g;
	return $text;
}

my @offline = ('--type=full', '--no-online', '--annotation=a=b');

# Two repositories of one codec, the first for us, the second for them.
sub twins {
	my ($codec) = @_;
	my @twins = map { PgStrata::Stanza->new(cluster => $pg, id => "$_-$codec",
		options => { global => { 'compress-type' => $codec, 'checksum-page' => 'y' } }) } 1, 2;
	$twins[1] = $twins[1]->using(pgbackrest());
	$_->run_ok('stanza-create', '--no-online', { name => "$codec: twin stanza" }) for @twins;
	return @twins;
}

for my $codec (full_run() ? @codecs : qw(none zst)) {
	my @twins = twins($codec);
	my @labels = map { backup_by($_, @offline) } @twins;
	is(twin_text($twins[0], $labels[0]), twin_text($twins[1], $labels[1]),
		"$codec: both describe the same cluster alike");
	my @dirs = map { $twins[$_]->path('repo', 'backup', 'demo', $labels[$_]) } 0, 1;
	my @trees = map { snapshot($_, ignore => qr/^backup\.manifest/) } @dirs;
	for my $tree (@trees) {
		s/^f \d+\K .*/ any/ for $codec eq 'none' ? () : values %$tree;
	}
	same_tree(@trees, "$codec: both store it alike");
	remove_tree($_->path) for @twins;
}

# Pages 1, 3 to 5 and 8 of ten bear no right checksum, empty ones are right; a file that is no multiple of a page.
{
	my $page = "\1" x 8192;
	spew($pg->data . '/base/5/90000', map { /^[13458]$/ ? $page : "\0" x 8192 } 0 .. 9);
	spew($pg->data . '/base/5/90002', $page, 'x');
	my @twins = twins('gz');
	my $label = backup_by($twins[0], @offline);
	my $text = twin_text($twins[0], $label);
	like($text, qr{^pg_data/base/5/90000=.*"checksum-page":false,"checksum-page-error":\[1,\[3,5\],8\]}m,
		'bad pages are found');
	like($text, qr{^pg_data/base/5/90002=.*"checksum-page":false,(?!"checksum-page-error)}m,
		'and a file of no whole pages');
	my $theirs = $twins[0]->using(pgbackrest());
	same_info($twins[0], $theirs, 'bad pages', @$_) for [], ["--set=$label"];
	same_info_text($twins[0], $theirs, 'bad pages', @$_) for [], ["--set=$label"];

	# 2.55 crashes when it finds such pages itself; its helper is to end with it.
	my ($code, $out) = end_background(start_background($twins[1], 'backup', @offline));
	SKIP: {
		skip 'cannot here: this pgbackrest crashes on bad pages', 2 if $code == 128 + 11;
		is($code, 0, 'they find them too') or diag($out);
		($label) = $out =~ /new backup label = (\S+)/ or die "no backup\n$out";
		is($text, twin_text($twins[1], $label), 'both describe them alike');
	}
	remove_tree($_->path) for @twins;
}

# --- the cluster is lost: restores ---

rename $pg->data, work_dir() . '/away' or die "rename: $!";
rename $space, "$space.away" or die "rename: $!";

sub empty_space {
	remove_tree($space);
	mkdir $space or die "mkdir: $!";
}

# By both, compared; theirs is left.
sub both_restore {
	my ($codec, $label) = @_;
	my @trees;
	for my $program ($ours{$codec}, $theirs{$codec}) {
		empty_space();
		restore_to($program, $pg->data, '--type=none', "--set=$label");
		push @trees, restored_tree($pg->data);
	}
	same_tree(@trees, "$codec: both restore $label to the same files");
	return $trees[0];
}

for my $codec (@codecs) {
	my $tree = both_restore($codec, $label{$codec});
	my ($odd, $raw, $excluded) = map { exists $tree->{"extra/$_"} } 'odd={"k"=1', 'latin1-' . chr(0xe4), '-dash';
	ok($odd && $raw && !$excluded, "$codec: odd names are there, excluded ones not");
	my $copied = ($ours{$codec}{sections}{global}{'archive-copy'} // 'n') eq 'y';
	is((grep { m{^pg_wal/[0-9A-F]{24}} } keys %$tree) > 0, $copied, "$codec: WAL if archive-copy asked for it");
	both_restore($codec, $on_top{$codec}[-1]) if $all_of_it{$codec};
}

# A server on what they made of ours, with the WAL that we pushed and they fetch.
my $restored = PgStrata::Cluster->new(name => 'main', init => 0);
for my $codec (full_run() ? @codecs : qw(lz4 bz2)) {
	empty_space();
	restore_to($theirs{$codec}, $restored->data, "--set=$label{$codec}", '--archive-mode=off');
	like(slurp($restored->data . '/postgresql.auto.conf'), qr/^restore_command = '\S*pgbackrest /m,
		"$codec: restore_command is theirs");
	$restored->start;
	$restored->wait_for_recovery_end;
	is($restored->psql($query), $rows, "$codec: the restored server has all rows");
	$restored->stop;
}

# --- expiry by them ---

for my $codec (grep { $all_of_it{$_} } @codecs) {
	my @before = $ours{$codec}->labels;
	$theirs{$codec}->run_ok('expire', '--repo1-retention-full=1', { name => "$codec: expire by pgbackrest",
		like => qr/remove expired backup \Q$label{$codec}\E/ });
	is_deeply([ $ours{$codec}->labels ], [ $before[-1] ], "$codec: our second backup is left");
	same_info($ours{$codec}, $theirs{$codec}, "$codec, after expire");
	my @dirs = map { m{([^/]+)$} } glob $ours{$codec}->path('repo', 'backup', 'demo', '2*');
	is("@dirs", $before[-1], "$codec: nothing of the first is left behind");
	verifies($codec, 1);
	empty_space();
	restore_to($ours{$codec}, $restored->data, '--type=none');
}

done_testing();
