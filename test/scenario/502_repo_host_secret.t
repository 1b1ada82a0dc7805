# Only the repository's host knows its passphrase: the host with the cluster archives, recovers and restores without it, and it is in
# nothing that crosses, nor in any argument, environment, log or file of that host.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Find ();
use MIME::Base64 qw(encode_base64);
use PgStrata;
use PgStrata::Hosts;
use PgStrata::Recovery;
use Test::More;

need_sshd();
my $secret = 'Nobody-but-the-repository-host-knows-this-2026';
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off', 'wal_keep_size = 200MB']);
my $hosts = PgStrata::Hosts->new(cluster => $pg, local_pg => 1,
	repo => { global => { 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'repo1-retention-full' => 9, 'compress-type' => 'zst',
		'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $secret } },
	# this level keeps what it does not find twice as it is, so that a passphrase can be seen in what crosses
	pg => { global => { 'compress-type' => 'none', 'compress-level-network' => -5, 'process-max' => 2 } });
my ($repo, $db) = ($hosts->repo, $hosts->pg);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $talk = work_dir() . '/talk';
my $seen = work_dir() . '/seen';

unlike(slurp($db->config_file), qr/cipher/, "the cluster's host is told nothing of a cipher");

# --- what crosses is written down, and beside it what every process of this host has for all to see ---

mkdir $seen;
$hosts->through(pg => record => $talk);
my $watch = work_dir() . '/watch';
spew($watch, <<"END");
#!/bin/sh
tr '\\0' '\\n' </proc/\$PPID/cmdline >"$seen/\$\$.argv"
tr '\\0' '\\n' </proc/\$PPID/environ >"$seen/\$\$.env"
env >"$seen/\$\$.ssh-env"
printf '%s\\n' "\$@" >"$seen/\$\$.ssh-argv"
exec "@{[ $hosts->sshd->dir ]}/relay-of-pg" "\$@"
END
chmod 0755, $watch;
$hosts->use_ssh(pg => $watch);

# What of these folders has the text, in any of the forms in which it might have gone there.
sub holders {
	my (@where) = @_;
	my @forms = ($secret, unpack('H*', $secret), encode_base64($secret, ''), substr($secret, 0, 16), scalar reverse $secret);
	my @found;
	File::Find::find({ no_chdir => 1, wanted => sub {
		return if !-f $File::Find::name;
		my $text = slurp($File::Find::name);
		push @found, $File::Find::name if grep { index($text, $_) >= 0 } @forms;
	} }, @where);
	return @found;
}

is_deeply([ holders($repo->path) ], [ $repo->config_file ], 'the search finds it where it is');

# --- everything that this host does ---

$pg->archive_to($db);
$pg->start;
$pg->drop_templates;
$repo->run_ok('stanza-create');
$db->run_ok('check');
write_rows($pg, 20);
my $segment = $pg->switch_wal;
ok($pg->wait_archived($segment), 'PostgreSQL archives');
my ($stored) = stored_wal($repo, $segment);
is(slurp($stored) =~ /^Salted__/ ? 'encrypted' : 'plain', 'encrypted', 'what is stored there is encrypted');
$db->run_ok('archive-push', $pg->data . "/pg_wal/$segment", { like => qr/already exists/, name => 'the same again is known to be the same' });
$db->run_ok('archive-get', $segment, work_dir() . '/got');
ok(slurp(work_dir() . '/got') eq slurp($pg->data . "/pg_wal/$segment"), 'the right bytes');
$repo->run_ok('backup', '--type=full', { name => 'full backup' });
$pg->psql("UPDATE numbered SET text = 'changed' WHERE id < 5");
$repo->run_ok('backup', '--type=incr', { name => 'incremental backup' });
write_segments($pg, 3);
my $now = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'archived');
$db->run_ok('info', { like => qr/full backup: .*incr backup: /s, name => 'info' });
is(scalar($db->labels), 2, 'info as JSON');
$db->run_ok('restore', '--pg1-path=' . $copy->data, '--archive-mode=off', { name => 'restore' });
recovers_whole($copy, $now, 'to the end');
$copy->stop('immediate');
$db->set(global => { 'archive-async' => 'y' });
write_rows($pg, 5);
my $async = $pg->switch_wal;
ok($pg->wait_archived($async), 'in the background too');
$pg->stop;
$hosts->quiet('when all is done');

# --- and what of it is to be seen ---

my @talks = glob "$talk/*";
cmp_ok(scalar @talks, '>', 10, 'conversations were written down: ' . @talks);
my %from = map { my $side = $_; ($side => join '', map { slurp($_) } glob "$talk/*.$side") } qw(caller server);
like($from{server}, qr/PGSTRATA/, "the server's words are there");
like($from{caller}, qr{archive/demo/archive\.info}, "the caller's too");
is_deeply([ holders($talk) ], [], 'the passphrase is in nothing that crossed');
cmp_ok(scalar(() = glob "$seen/*.env"), '>', 10, 'processes were looked at');
is_deeply([ holders($seen) ], [], 'nor in arguments or environment of who asks');
is_deeply([ holders($db->path, $copy->data, $pg->data) ], [], 'nor in a log, lock, spool or restored file of that host');
my @left = grep { !/\Q@{[ $repo->config_file ]}\E$/ } holders($repo->path);
is_deeply(\@left, [], "nor anywhere on the repository's host but in its configuration");
ok($from{server} =~ /cipher-pass="[\w+\/=]{40,}"/, 'while the passphrases of its parts, which the roles need, are seen to cross');
done_testing;
