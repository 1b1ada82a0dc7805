# Several repositories, each with a key of its own or none, numbered with gaps: WAL goes to all, a backup to one, and what
# one cannot give the others do.  A wrong key in one does not stop the others, and PostgreSQL is told.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my %pass = (1 => 'the first key', 4 => 'the fourth "key"');
my @keys = (1, 2, 4);
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'compress-type' => 'zst', 'archive-timeout' => '5s', 'expire-auto' => 'n',
	map { ("repo$_-path" => work_dir() . "/r$_", $pass{$_} ? key_of($_) : (), "repo$_-retention-full" => 9) } @keys } });
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $got = work_dir() . '/got';

sub key_of { return ("repo$_[0]-cipher-type" => 'aes-256-cbc', "repo$_[0]-cipher-pass" => $pass{$_[0]}) }
sub wrong_key { $stanza->set(global => { map { ("repo$_-cipher-type" => 'aes-256-cbc', "repo$_-cipher-pass" => 'wrong') } @_ }) }
sub right_keys { $stanza->set(global => { map { $pass{$_} ? { key_of($_) }->%* : ("repo$_-cipher-type" => undef, "repo$_-cipher-pass" => undef) } @keys }) }

# The stored file of a WAL file in a repository.
sub stored {
	my ($key, $name) = @_;
	return grep { !/\.tmp$/ } glob work_dir() . "/r$key/archive/demo/*/" . substr($name, 0, 16) . "/$name-*";
}

sub backup {
	my ($key, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($label) = $stanza->run_ok('backup', '--type=full', @options, { name => "backup in repo$key @options" })
		=~ /new backup label = (\S+)/;
	ok(-e work_dir() . "/r$key/backup/demo/$label/backup.manifest", 'is there') if $label;
	is(scalar(grep { -e work_dir() . "/r$_/backup/demo/$label" } @keys), 1, 'and in no other') if $label;
	return $label // die "no backup\n";
}

# A test point: archive-get delivers the segment that PostgreSQL wrote.
sub delivers {
	my ($segment, $want, $name, %how) = @_;
	unlink $got;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stanza->run_ok('archive-get', $segment, $got, { name => $name, %how });
	is(-e $got ? sha1_hex(slurp($got)) : '', $want, "$name: the right bytes");
}

sub restore_copy {
	my ($name, @options) = @_;
	my $how = ref $options[-1] ? pop @options : {};
	$copy->stop('immediate') if $copy->running;
	$copy->remove_data;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $stanza->run_ok('restore', '--pg1-path=' . $copy->data, '--archive-mode=off', @options,
		{ name => "$name: restore", %$how });
}

# --- configuration ---

for my $path (work_dir() . '/r1', work_dir() . '/r1/') {
	$stanza->set(global => { 'repo4-path' => $path });
	$stanza->run_fail(@$_, { code => 32, like => qr/local repo1 and repo4 paths are both '\S+\/r1' but must be different/ })
		for ['info'], [ 'stanza-create', '--no-online' ], [ 'archive-push', $pg->data . '/PG_VERSION' ], ['restore'];
}
$stanza->set(global => { 'repo4-path' => work_dir() . '/r4' });
ok(!-e work_dir() . '/r1', 'nothing was made');
$stanza->run_fail('info', '--repo=3', { code => 32, like => qr/key '3' is not valid for 'repo' option/ });
$stanza->run_fail('check', '--repo=1', { code => 31 });

# --- to all and to one ---

$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create', { like => qr/repo1\n.*repo2\n.*repo4\n/s });
$pg->drop_templates;
write_rows($pg, 5);
my $checked = $stanza->run_ok('check');
like($checked, qr/WAL segment \S+ successfully archived to '\S+\/r$_\/\S+' on repo$_\n/, "check: repo$_") for @keys;
my ($segment) = $checked =~ /WAL segment (\S+) successfully/;
my @stored = map { stored($_, $segment) } @keys;
is(scalar @stored, 3, 'each has the segment');
is(scalar(grep { slurp($_) =~ /^Salted__/ } @stored), 2, 'two of them encrypted');
isnt(slurp($stored[0]), slurp($stored[2]), 'each with its own key');
my $sum = ($stored[0] =~ /-([0-9a-f]{40})/)[0];

my %label;
$label{1} = backup(1);
write_rows($pg, 2);
$label{2} = backup(2, '--repo=2', '--compress-type=gz');
write_rows($pg, 2);
$label{4} = backup(4, '--repo=4', '--compress-type=none');
write_rows($pg, 5);
my $state = row_state($pg);
my $last = $pg->switch_wal;
ok($pg->wait_archived($last), 'all is archived');
like($stanza->run_ok('backup', '--type=full', { name => 'the lowest is the default' }), qr/defaulting to repo1/, 'and is told');

my $info = $stanza->info->[0];
is($info->{cipher}, 'mixed', 'info: the ciphers differ');
is(join(' ', map { "$_->{key}:$_->{cipher}" } @{ $info->{repo} }), '1:aes-256-cbc 2:none 4:aes-256-cbc', 'info: as configured');
is($info->{status}{code}, 0, 'info: ok');
is(join(' ', map { $_->{database}{'repo-key'} } @{ $info->{backup} }), '1 2 4 1', 'info: a backup in each, two in the first');
$stanza->run_ok('info', { like => qr/^    cipher: mixed\n        repo1: aes-256-cbc\n        repo2: none\n        repo4: aes-256-cbc\n\n/m });
is($stanza->info('--repo=2')->[0]{cipher}, 'none', 'info: one alone');
$stanza->run_ok('info', "--set=$label{4}", { name => 'info of the backup in repo4', like => qr/repo4: backup set size/ });

# Expiry looks at each repository's own number.
$stanza->run_ok('expire', '--repo1-retention-full=1', { name => 'expire in one' });
is(join(' ', map { $_->{database}{'repo-key'} } @{ $stanza->info->[0]{backup} }), '2 4 1', 'the others keep what they have');
$label{1} = $stanza->info('--repo=1')->[0]{backup}[0]{label};

# --- restore from each, with its key ---

for my $key (@keys) {
	restore_copy("repo$key", "--repo=$key");
	recovers_whole($copy, $state, "repo$key");
	restore_copy("repo$key by the label", "--set=$label{$key}", '--type=immediate',
		{ like => qr/repo$key: restore backup set $label{$key}/ });
}
$stanza->run_fail('restore', '--repo=1', "--set=$label{4}", '--pg1-path=' . $copy->data, '--delta', { code => 75,
	name => 'a label of another repository' });

# --- one is not to be read ---

chmod 0, work_dir() . '/r1/archive/demo', work_dir() . '/r1/backup/demo' or die "chmod: $!";
delivers($segment, $sum, 'repo1 is unreadable: archive-get', like => qr/WARN: repo1: \[\w+Error\].*found \S+ in the repo2: /s);
restore_copy('repo1 is unreadable', { like => qr/WARN: repo1: \[\w+Error\]/ });
stops_in_recovery($copy, 'repo1 is unreadable: what it has is not known');
restore_copy('without repo1', '--repo=2', { unlike => qr/repo1: / });
recovers_whole($copy, $state, 'without repo1');
is(join(' ', map { "$_->{key}:$_->{status}{code}" } @{ $stanza->info->[0]{repo} }), '1:99 2:0 4:0', 'info says which');
$stanza->run_fail('backup', '--type=full', { name => 'a backup goes to no other by itself' });
chmod 0750, work_dir() . '/r1/archive/demo', work_dir() . '/r1/backup/demo' or die "chmod: $!";

# --- one key is wrong ---

for my $case ([ 1, 'repo1 has a wrong key' ], [ 2, 'repo2 has a key and is plain' ]) {
	my ($key, $name) = @$case;
	my %before = map { $_ => snapshot(work_dir() . "/r$_") } @keys;
	wrong_key($key);
	delivers($segment, $sum, "$name: archive-get", like => qr/WARN: repo$key: \[CryptoError\]/);
	restore_copy($name, '--type=immediate', { like => qr/WARN: repo$key: \[CryptoError\]/ });
	restore_copy("$name, of another", "--set=$label{4}", '--type=immediate', { like => qr/repo4: restore backup set/ });
	is(join(' ', map { $_->{key} . ':' . $_->{status}{code} } @{ $stanza->info->[0]{repo} }),
		join(' ', map { "$_:" . ($_ == $key ? 99 : 0) } @keys), "$name: info says which");
	$stanza->run_fail('check', { name => "$name: check", code => 95, like => qr/\Q$key\E/ });
	$stanza->run_fail('stanza-create', { name => "$name: stanza-create", code => 95 });
	same_tree($before{$_}, snapshot(work_dir() . "/r$_"), "$name: repo$_ is as it was") for @keys;

	write_rows($pg, 1);
	my $new = $pg->switch_wal;
	ok(wait_until(sub { stored(4, $new) && stored($key == 1 ? 2 : 1, $new) }, 60), "$name: a new segment is in the others");
	ok(wait_until(sub { $pg->psql("SELECT failed_count > 0 AND last_failed_wal = '$new' FROM pg_stat_archiver") eq 't' }, 60),
		"$name: PostgreSQL is told that it is not everywhere");
	ok(!stored($key, $new), "$name: and it is not");
	ok(-e $pg->data . "/pg_wal/archive_status/$new.ready", "$name: so it keeps it");
	right_keys();
	ok($pg->wait_archived($new), "$name: with the right key it goes on");
	is(scalar(map { stored($_, $new) } @keys), 3, "$name: and all have it");
}
$state = row_state($pg);

# Half of the copies are damaged, and other ones in each: what one lacks another has.
my @segments = grep { /^[0-9A-F]{24}$/ } map { m{.*/([0-9A-F]{24})-} } glob work_dir() . '/r2/archive/demo/*/0*/*';
for my $n (0 .. $#segments) {
	my ($file) = stored($keys[$n % 3], $segments[$n]);
	flip_bit($file, -20, $n % 8) if $file; # the first has only what its one backup needs
}
restore_copy('a third of all segments is damaged', "--set=$label{4}");
recovers_whole($copy, $state, 'a third of all segments is damaged');

# --- recovery while keys are wrong ---

restore_copy('keys get wrong', "--set=$label{4}");
wrong_key(1, 2, 4);
stops_in_recovery($copy, 'all keys are wrong');
my $log = $copy->log_text;
unlike($log, qr/first key|fourth/, 'no key is in the log of PostgreSQL');
right_keys();
wrong_key(1);
stops_in_recovery($copy, 'one key is wrong');
right_keys();
recovers_whole($copy, $state, 'all keys are right again');
$copy->stop;
$pg->stop;

done_testing();
