# Encrypted repositories: everything works with every codec and with odd passphrases; nothing of the cluster can be read
# in the repository, and no passphrase outside of the configuration; with a wrong passphrase, without one, or with one
# too many every command says so and changes nothing.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Find ();
use File::Path qw(remove_tree);
use JSON::PP ();
use PgStrata;
use PgStrata::Interop;
use Test::More;

# As bytes, because files are written as bytes.
my $pass = "two  words, #hash; =\"quo'ted\" \\ \$HOME `id` \%f [x] ";
utf8::encode($pass .= 'ä€');
my $aes = { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $pass };

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off', "cluster_name = 'NAMEmark'"]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { %$aes, 'compress-type' => 'zst' } });
my $plain = PgStrata::Stanza->new(cluster => $pg, id => 'plain', options => { global => { 'compress-type' => 'none' } });
my $repo = $stanza->path('repo');
my $got = work_dir() . '/got';

# What is searched for: rows, a configuration file, names of files, databases and users, and what the original's
# formats consist of.
my @marks = ('ROWmark', 'CONFmark', 'NAMEmark', 'DBmark', 'FILEmark', 'PG_VERSION', 'pg_data', 'backrest', 'postgres',
	'START WAL', 'timeline', 'cipher-pass');
my %magic = (gz => "\x1f\x8b\x08", lz4 => "\x04\x22\x4d\x18", zst => "\x28\xb5\x2f\xfd", bz2 => 'BZh', page => "\0" x 64);

sub files_below {
	my @files;
	File::Find::find({ no_chdir => 1, wanted => sub { push @files, $_ if -f && !-l } }, @_);
	return sort @files;
}

# What of the marks and magics a file has; compressed files are looked into.
sub readable {
	my ($file) = @_;
	my $bytes = slurp($file);
	my @found = grep { index($bytes, $_) >= 0 } @marks;
	for my $name (sort keys %magic) {
		my $at = index $bytes, $magic{$name};
		next if $at < 0 || ($name ne 'page' && $at > 24); # magics count where a stream may begin
		push @found, $name;
		my %program = (gz => 'gzip', lz4 => 'lz4', zst => 'zstd', bz2 => 'bzip2');
		my ($code, $out) = $program{$name} ? run_command([ $program{$name}, '-dc' ], stdin => substr $bytes, $at) : (1);
		push @found, map { "$name: $_" } grep { index($out // '', $_) >= 0 } @marks;
	}
	return @found;
}

# A word of each of the three kinds of text that a repository may not have, and the passphrase's.
sub nothing_readable {
	my ($name) = @_;
	my @files = files_below($repo);
	my @readable = map { my $file = $_; my @found = readable($file); @found ? "$file: @found" : () } @files;
	my @no_cipher = grep { substr(slurp($_), 0, 8) ne 'Salted__' } @files;
	cmp_ok(scalar @files, '>', 20, "$name: there are files to look at");
	is("@readable", '', "$name: nothing in them can be read");
	is("@no_cipher", '', "$name: each begins as ciphertext");
	my %salt = map { substr(slurp($_), 8, 8) => $_ } grep { !/\.copy$/ } @files;
	cmp_ok(scalar keys %salt, '>=', scalar(grep { !/\.copy$/ } @files) - grep({ /backup\.manifest$/ } @files),
		"$name: and no two have the same salt");
}

sub decrypted {
	my ($file, $key) = @_;
	my ($code, $out) = run_command([ qw(openssl enc -d -aes-256-cbc -md sha1 -in), $file, '-pass', 'env:KEY' ],
		env => { KEY => $key });
	return $code == 0 ? $out : undef;
}

sub backup {
	my (@options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($label) = $stanza->run_ok('backup', '--type=full', @options) =~ /new backup label = (\S+)/;
	return $label // die "no backup\n";
}

# --- what must be refused ---

sub with { return PgStrata::Stanza->new(cluster => $pg, id => $_[0], options => { global => { 'repo1-path' => $_[1], %{ $_[2] } } }) }

my $cipher = { 'repo1-cipher-type' => 'aes-256-cbc' };
my @wrong = (
	[ 'a wrong passphrase', with('wrong', $repo, { %$cipher, 'repo1-cipher-pass' => 'not the right one' }), 95,
		qr/the passphrase is wrong/ ],
	[ 'the passphrase cut short', with('short', $repo, { %$cipher, 'repo1-cipher-pass' => substr $pass, 0, -1 }), 95,
		qr/the passphrase is wrong/ ],
	[ 'no passphrase', with('none', $repo, {}), 95, qr/is encrypted, but no passphrase is set/ ],
	[ 'only the type', with('type', $repo, $cipher), 37, qr/command requires option: repo1-cipher-pass/ ],
	[ 'a needless passphrase', with('needless', $plain->path('repo'), $aes), 95,
		qr/is not encrypted, but a passphrase is set/ ],
);

sub everything { return { map { %{ snapshot($_) } } @_ } }

# Commands that look at all repositories before they give up have codes of their own.
my %of = ('archive-push' => 103, 'archive-get' => 103, restore => 75, annotate => 104,
	expire => 104, verify => undef);
sub refused {
	my ($case, $command, @arguments) = @_;
	my ($name, $wrong, $code, $like) = @$case;
	$code = $of{$command} if $code == 95 && exists $of{$command};
	$wrong->run_fail($command, @arguments, { name => "$name: $command @arguments", code => $code, like => $like,
		unlike => qr/\[FileMissingError\]|is missing|JSON|not the right one|two  words/ });
}

# --- a stanza, WAL and an online backup ---

$pg->archive_to($stanza);
$pg->start;
$_->run_ok('stanza-create') for $stanza, $plain;
$stanza->run_ok('stanza-create', { name => 'and again', like => qr/already exists on repo1 and is valid/ });
$pg->drop_templates;
$pg->psql($_) for 'CREATE DATABASE "DBmark" TEMPLATE postgres', "CREATE TABLE t AS SELECT id, 'ROWmark' || id AS text"
	. ' FROM generate_series(1, 5000) AS id', 'CHECKPOINT';
spew($pg->data . '/FILEmark.conf', "CONFmark = 'on'\n" x 100);
$stanza->run_ok('check', { like => qr/successfully archived to '/ });
{
	my $before = everything($repo, $plain->path('repo'));
	refused($_, 'check') for @wrong;
	same_tree($before, everything($repo, $plain->path('repo')), 'checks that fail change nothing');
}
my @labels = backup('--compress-type=gz', '--archive-copy');
$pg->psql("INSERT INTO t SELECT id, 'ROWmark' FROM generate_series(5001, 6000) AS id");
my $query = 'SELECT count(*), sum(id), md5(string_agg(text, NULL ORDER BY id)) FROM t';
my $rows = $pg->psql($query);
my $segment = $pg->switch_wal;
ok($pg->wait_archived($segment), 'everything is archived');
my $data = $pg->data;
$pg->stop;

is($stanza->info->[0]{cipher}, 'aes-256-cbc', 'info names the cipher');
is($stanza->info->[0]{repo}[0]{cipher}, 'aes-256-cbc', 'also of the repository');
is($stanza->info->[0]{status}{code}, 0, 'and all is well');
$stanza->run_ok('info', { like => qr/^    status: ok\n    cipher: aes-256-cbc\n/m });
$stanza->run_ok('info', "--set=$labels[0]", { name => 'info of a backup', like => qr/backup set size: .*\n *database list: DBmark/ });

# --- all codecs: WAL by hand, backups of the cluster at rest ---

my ($wal) = grep { m{/[0-9A-F]{24}$} } sort glob "$data/pg_wal/*";
for my $codec (codecs()) {
	my ($code, $out, $err) = $stanza->run("--compress-type=$codec", 'archive-push', $wal);
	my ($stored) = grep { /-[0-9a-f]{40}/ } glob "$repo/archive/demo/*/*/" . ($wal =~ m{([^/]+)$})[0] . '-*';
	is("$code $out" =~ s/\s.*//sr, 0, "$codec: a segment is pushed") or diag($out, $err);
	like($stored, qr/\Q@{[ codec_suffix($codec) ]}\E$/, "$codec: under its name");
	$stanza->run_ok('archive-push', $wal, { name => "$codec: and again", like => qr/already exists in the repo1 archive/ });
	$stanza->run_ok('archive-get', ($wal =~ m{([^/]+)$})[0], $got, { name => "$codec: and comes back" });
	is(sha1_hex(slurp($got)), sha1_hex(slurp($wal)), "$codec: as it was");
	unlink $stored, $got;
}
push @labels, backup('--no-online', "--compress-type=$_", '--process-max=2') for codecs();

nothing_readable('the encrypted repository');
SKIP: {
	skip 'openssl is not installed', 4 if !grep { -x "$_/openssl" } split /:/, $ENV{PATH};
	my $sub = sub { $_[0] =~ /^cipher-pass="([A-Za-z0-9+\/]{64})"$/m ? $1 : '' };
	my @keys = map { $sub->(decrypted("$repo/$_", $pass) // '') } 'archive/demo/archive.info', 'backup/demo/backup.info';
	push @keys, map { $sub->(decrypted("$repo/backup/demo/$_/backup.manifest", $keys[1]) // '') } @labels;
	is(scalar(grep { length == 64 } @keys), 2 + @labels, 'there are keys of the archive, of the manifests and of each backup');
	is(scalar(keys %{ { map { $_ => 1 } @keys } }), scalar @keys, 'each is another');
	my $bytes = join '', map { slurp($_) } files_below($repo);
	is(scalar(grep { index($bytes, $_) >= 0 } @keys), 0, 'none can be read');
	like(decrypted("$repo/backup/demo/$labels[1]/pg_data/PG_VERSION", $keys[3]) // '', qr/^\d+\n$/,
		'and openssl opens a file with its key');
}

# The search finds what is there to find.
{
	my ($label) = $plain->run_ok('backup', '--type=full', '--no-online', { name => 'a plain backup' })
		=~ /label = (\S+)/;
	$plain->run_ok('--compress-type=gz', 'archive-push', $wal, { name => 'a plain segment' });
	my %found = map { $_ => 1 } map { readable($_) } files_below($plain->path('repo'));
	my @missing = grep { !$found{$_} } grep { !/START WAL|cipher-pass/ } @marks, 'page', 'gz';
	is("@missing", '', 'in a plain repository all of it is found');
	for my $codec (qw(gz lz4 zst bz2)) {
		my ($code) = run_command([ { gz => 'gzip', lz4 => 'lz4', zst => 'zstd', bz2 => 'bzip2' }->{$codec}, '--version' ]);
		next if $code;
		$plain->run_ok('backup', '--type=full', '--no-online', "--compress-type=$codec", { name => "a plain backup, $codec" })
			=~ /label = (\S+)/;
		my %inside = map { $_ => 1 } map { readable($_) } files_below($plain->path('repo', 'backup', 'demo', $1, 'pg_data'));
		ok($inside{$codec} && $inside{"$codec: CONFmark"}, "what $codec hides is found");
		last if !full_run();
	}
}

# --- wrong, missing and needless passphrases ---

for my $case (@wrong) {
	my ($name, $wrong, $code, $like) = @$case;
	my @places = ($repo, $plain->path('repo'), $data);
	my $before = everything(@places);
	refused($case, @$_) for [ 'stanza-create', '--no-online' ], [ 'backup', '--no-online', '--type=full' ],
		[ 'archive-push', $wal ], [ 'archive-get', $segment, $got ], [ 'restore', '--delta' ],
		[ 'restore', "--set=$labels[1]", '--delta' ], [ 'expire', '--repo1-retention-full=1' ], ['verify'],
		[ 'stanza-upgrade', '--no-online' ], [ 'annotate', "--set=$labels[0]", '--annotation=a=b' ];
	if ($code == 37) {
		refused($case, 'info');
	} else {
		$wrong->run_ok('info', { name => "$name: info", like => $like });
		is($wrong->info->[0]{status}{code}, 99, "$name: info knows no more");
	}
	ok(!-e $got, "$name: no WAL was delivered");
	same_tree($before, everything(@places), "$name: nothing was written or removed");
}

# --- a file that somebody decrypted, and one that was never encrypted ---

{
	my $info = "$repo/archive/demo/archive.info";
	my ($main, $copy) = (slurp($info), slurp("$info.copy"));
	is($main, $copy, 'main file and copy hold the same ciphertext');
	flip_bit($info, 40);
	$stanza->run_ok('archive-get', $segment, $got, { name => 'a damaged main file: the copy serves', like => qr/WARN: .*using its copy/ });
	spew("$info.copy", substr $copy, 0, -16);
	$stanza->run_fail('archive-get', $segment, $got, { name => 'both are damaged', code => 103, like => qr/CryptoError/ });
	spew($_, slurp($plain->path('repo', 'archive', 'demo', 'archive.info'))) for $info, "$info.copy";
	$stanza->run_fail('archive-push', $wal, { name => 'a plain file in an encrypted repository', code => 103,
		like => qr/is not encrypted, but a passphrase is set/ });
	spew($info, $main);
	spew("$info.copy", $copy);
	unlink $got;
}

# --- no random bytes, no data ---

SKIP: {
	my $counted = work_dir() . '/counted';
	$stanza->run('info', { env => { PGSTRATA_FAULT_COUNT => $counted } });
	skip 'built without --enable-faults', 1 if !-e $counted;
	my $new = with('new', work_dir() . '/new', $aes);
	my $infos = sub { join ' ', grep { /info/ } map { -d ? files_below($_) : () } work_dir() . '/new' };
	for my $n (1, 2, 3) {
		$new->run_fail('stanza-create', '--no-online', { name => "stanza-create without random bytes, call $n", code => 95,
			env => { PGSTRATA_FAULT => "getrandom:$n:EIO" }, like => qr/unable to get random bytes/ });
		is($infos->(), '', 'and nothing is there');
	}
	$new->run_fail('stanza-create', '--no-online', { name => 'stanza-create without random bytes, call 4', code => 95,
		env => { PGSTRATA_FAULT => 'getrandom:4:EIO' } });
	is($infos->(), join(' ', map { work_dir() . "/new/archive/demo/$_" } qw(archive.info archive.info.copy)), 'leaves half a stanza');
	my $key = sub { (decrypted(work_dir() . '/new/archive/demo/archive.info', $pass) // '') =~ /^(cipher-pass=.*)$/m ? $1 : '' };
	my $half = $key->();
	$new->run_ok('stanza-create', '--no-online', { name => 'which the next one completes' });
	is($key->(), $half, 'and keeps its key');
	my @before = $stanza->labels;
	$stanza->run_fail('backup', '--type=full', '--no-online', { name => 'a backup without random bytes', code => 95,
		env => { PGSTRATA_FAULT => 'getrandom:9:EIO:forever' }, like => qr/unable to get random bytes/ });
	is_deeply([ $stanza->labels ], \@before, 'is not listed');
}

# --- what comes back ---

rename $data, "$data.away" or die "rename: $!";
my $source = snapshot("$data.away", ignore => qr/^(postmaster\.\w+|pg_wal|pg_stat_tmp)|pg_internal\.init$/);
for my $n (1 .. $#labels) {
	restore_to($stanza, $data, '--type=none', "--set=$labels[$n]", { name => 'restore: ' . (codecs())[$n - 1] });
	my %restored = %{ restored_tree($data) };
	my @lost = grep { $source->{$_} =~ /^f \d+ \d+ (\w+)/ && ($restored{$_} // '') !~ /^f \d+ \d+ $1/ }
		grep { !m{^(postgresql\.auto\.conf|global/pg_control|pg_(stat|logical|notify|replslot|serial|snapshots|subtrans)/)} } keys %$source;
	is("@lost", '', 'all files are as they were');
}
my $restored = PgStrata::Cluster->new(name => 'main', init => 0);
restore_to($stanza, $restored->data, "--set=$labels[0]");
$restored->start;
$restored->wait_for_recovery_end;
is($restored->psql($query), $rows, 'the restored server has all rows');
ok($restored->wait_archived($restored->switch_wal), 'and archives its own timeline');
my @kinds = map { s{.*/}{}r } files_below("$repo/archive");
ok((grep { /^00000002\.history$/ } @kinds) && (grep { /\.backup$/ } @kinds), 'with its history file');
$stanza->run_ok('archive-get', '00000002.history', $got, { name => 'which comes back' });
like(slurp($got), qr/^1\t/, 'in plain');
$restored->stop;
restore_to($stanza, $restored->data, "--set=$labels[0]");
$restored->start;
$restored->wait_for_recovery_end;
is($restored->psql('SELECT timeline_id FROM pg_control_checkpoint()'), 3, 'a second restore follows the new timeline');
is($restored->psql($query), $rows, 'with all rows');
$restored->stop;
nothing_readable('at the end');

# --- the passphrase is where it was written and nowhere else ---

my ($code, $help) = $stanza->run('help', 'backup', 'repo-cipher-pass');
like($help, qr/current: <redacted>/, 'help does not show it');
my $words = qr/two  words|quo'ted/;
my @leaks = grep { slurp($_) =~ $words } grep { !m{/c-\w+/pgbackrest\.conf$} } files_below(work_dir());
is("@leaks", '', 'no log, lock, setting or file has the passphrase');
my @logs = grep { slurp($_) =~ /--repo1-cipher-pass=<redacted>/ } files_below($stanza->path('log'));
ok(scalar @logs, 'the logs say that there is one');

# From the environment, which may begin and end with blanks.
{
	my $env = { PGBACKREST_REPO1_CIPHER_TYPE => 'aes-256-cbc', PGSTRATA_REPO1_CIPHER_PASS => $pass };
	my $bare = with('bare', $repo, {});
	$bare->run_ok('archive-get', $segment, $got, { name => 'a passphrase from the environment', env => $env });
	$bare->run_fail('archive-get', $segment, $got, { name => 'with a blank more', code => 103, like => qr/passphrase is wrong/,
		env => { %$env, PGSTRATA_REPO1_CIPHER_PASS => "$pass " } });
	$bare->run_fail('info', '--repo1-cipher-pass=x', { name => 'on the command line it is refused', code => 31,
		like => qr/'repo1-cipher-pass' is not allowed on the command-line/ });
}

done_testing();
