# What goes wrong with an SFTP server is said with host, path and cause, within io-timeout, and never taken for an absence;
# nothing half written gets a right name; the next command works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use IO::Socket::INET;
use PgStrata;
use PgStrata::Cluster;
use PgStrata::Sshd;
use PgStrata::Stanza;
use Test::More;
use Time::HiRes qw(time);

need_sshd();
my $sshd = PgStrata::Sshd->new;
my $repo = work_dir() . '/repo there';
my $pg = PgStrata::Cluster->new(wal_segsize => 16, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	%{$sshd->repo_options(1, $repo)}, 'repo1-retention-full' => 9, 'compress-type' => 'none', 'io-timeout' => '3s',
	'archive-timeout' => '3s' } });
my $where = '127.0.0.1:' . $sshd->port;
my $secret = 'do not show me';

sub with {
	my ($options, $code) = @_;
	$stanza->set(global => $options);
	$code->();
	$stanza->set(global => { %{$sshd->repo_options(1, $repo)}, map { ($_ => $sshd->repo_options(1, $repo)->{$_}) } keys %$options });
}

$pg->start;
$stanza->run_ok('stanza-create');
my $segment = '000000010000000000000001';
my $wal = $pg->data . "/pg_wal/$segment";

# --- who is it ---

my $other = $sshd->key('other');
my $locked = $sshd->key('locked', passphrase => $secret);
my $pem = $sshd->key('pem', type => 'ecdsa', passphrase => $secret);
run_command([ 'ssh-keygen', '-q', '-p', '-m', 'PEM', '-P', $secret, '-N', $secret, '-f', $pem ]);
$sshd->authorize("$sshd->{dir}/user", $locked, $pem);
my $empty = work_dir() . '/known_nobody';
spew($empty, '');
spew(work_dir() . '/known_wrong', $sshd->known_host($other));
my @kinds = (
	[ 'a host that nobody knows', { 'repo1-sftp-known-host' => $empty }, qr/'127\.0\.0\.1:\d+' was not found in known hosts/ ],
	[ 'a host with another key', { 'repo1-sftp-known-host' => work_dir() . '/known_wrong' },
		qr/key of SFTP host '127\.0\.0\.1:\d+' is not the one/ ],
	[ 'the same for accept-new', { 'repo1-sftp-known-host' => work_dir() . '/known_wrong',
		'repo1-sftp-host-key-check-type' => 'accept-new' }, qr/is not the one/ ],
	[ 'another fingerprint', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-key-check-type' => 'fingerprint',
		'repo1-sftp-host-fingerprint' => 'ab' x 32 }, qr/fingerprint '[0-9a-f]{64}', not '(ab){32}'/ ],
	[ 'a fingerprint beside another check', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-key-check-type' => 'strict',
		'repo1-sftp-host-fingerprint' => 'ab' }, qr/\[031\].*not valid without option 'repo1-sftp-host-key-check-type' = 'fingerprint'/ ],
	[ 'no fingerprint to check', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-key-check-type' => 'fingerprint' },
		qr/\[037\].*archive-push command requires option: repo1-sftp-host-fingerprint/ ],
	[ 'a key that is not let in', { 'repo1-sftp-private-key-file' => $other }, qr/unable to log in to '\Q$where\E' as user/ ],
	[ 'a key that is not there', { 'repo1-sftp-private-key-file' => '/no/key' }, qr{unable to open private key '/no/key'} ],
	[ 'a locked key', { 'repo1-sftp-private-key-file' => $locked }, qr/needs? repo-sftp-private-key-passphrase|need repo1?-?sftp/ ],
	[ 'a wrong passphrase', { 'repo1-sftp-private-key-file' => $locked, 'repo1-sftp-private-key-passphrase' => "not $secret" },
		qr/passphrase right/ ],
	[ 'a wrong passphrase for PEM', { 'repo1-sftp-private-key-file' => $pem, 'repo1-sftp-private-key-passphrase' => "not $secret" },
		qr/passphrase right/ ],
	[ 'a user that does not exist', { 'repo1-sftp-host-user' => 'nobody-here' }, qr/as user 'nobody-here'/ ],
	[ 'a host that does not exist', { 'repo1-sftp-host' => 'no-such-host.invalid' }, qr/unable to get address for 'no-such-host\.invalid'/ ],
);
for my $kind (@kinds) {
	my ($name, $options, $like) = @$kind;
	with($options, sub {
		$stanza->run_fail('archive-push', $wal, { name => $name, like => $like, unlike => qr/\Q$secret\E|AddressSanitizer/ });
	});
}
my ($sum) = (run_command([ 'ssh-keygen', '-l', '-E', 'sha256', '-f', "$sshd->{host_key}.pub" ]))[1] =~ /(SHA256:\S+)/;
my ($md5) = (run_command([ 'ssh-keygen', '-l', '-E', 'md5', '-f', "$sshd->{host_key}.pub" ]))[1] =~ /MD5:(\S+)/;
my $known = $sshd->known_host;
my @good = (
	[ 'the fingerprint of ssh-keygen', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-key-check-type' => 'fingerprint',
		'repo1-sftp-host-fingerprint' => $sum } ],
	[ 'an MD5 fingerprint, alone as of old', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-fingerprint' => $md5,
		'repo1-sftp-host-key-hash-type' => 'md5' }, qr/is deprecated/ ],
	[ 'no check', { 'repo1-sftp-known-host' => undef, 'repo1-sftp-host-key-check-type' => 'none' } ],
	[ 'a new host accepted', { 'repo1-sftp-known-host' => $empty, 'repo1-sftp-host-key-check-type' => 'accept-new' },
		qr/is new and was added/ ],
	[ 'and known from then on', { 'repo1-sftp-known-host' => $empty } ],
	[ 'the second of two files', { 'repo1-sftp-known-host' => [ '/no/file', $empty ] } ],
	[ 'a locked key', { 'repo1-sftp-private-key-file' => $locked, 'repo1-sftp-private-key-passphrase' => $secret } ],
	[ 'a locked PEM key', { 'repo1-sftp-private-key-file' => $pem, 'repo1-sftp-private-key-passphrase' => $secret } ],
	[ 'with its public key', { 'repo1-sftp-public-key-file' => "$sshd->{key}.pub" } ],
);
for my $kind (@good) {
	my ($name, $options, $like) = @$kind;
	with($options, sub {
		$stanza->run_ok('info', { name => $name, unlike => qr/\Q$secret\E/, like => $like // qr/no valid backups/ });
	});
}
is(slurp($empty), $known, 'the line that was added is what ssh would have written');

# --- not there, silent, cut ---

with({ 'repo1-sftp-host-port' => PgStrata::Sshd::free_port() }, sub {
	$stanza->run_fail('archive-push', $wal, { name => 'nobody listens', like => qr/unable to connect to '127\.0\.0\.1:\d+': \[111\]/ });
	$stanza->run_fail('archive-get', $segment, work_dir() . '/got', { name => 'archive-get does not take that for an absence',
		like => qr/unable to connect/ });
});
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "listen: $!";
with({ 'repo1-sftp-host-port' => $silent->sockport, 'io-timeout' => '1s' }, sub {
	my $begin = time;
	$stanza->run_fail('backup', '--no-online', '--force', { name => 'somebody listens and says nothing', like => qr/timeout connecting/ });
	cmp_ok(time - $begin, '<', 30, 'and is given up');
});
close $silent;

sub cut {
	my ($name, @arguments) = @_;
	my $running = spawn_command([ $stanza->command(@arguments) ]);
	wait_until(sub { PgStrata::has_ended($running) || grep { -s $_ } glob "'$repo'/backup/demo/*/pg_data/big*" }, 60);
	$sshd->kill_sessions;
	my ($code, $out) = reap($running, 60);
	return ($code, $out);
}
spew($pg->data . "/big$_", pack('N*', map { $_ * 2654435761 % 4294967296 } 1 .. 2_000_000)) for 1 .. 4;
my ($code, $out) = cut('cut', 'backup', '--type=full', '--no-online', '--force');
isnt($code, 0, 'a backup whose connections are cut fails');
like($out, qr{/repo there/backup/demo/\S+/pg_data/\S+'.*'\Q$where\E'}s, 'and says at what, and where');
my @manifests = grep { m{/backup\.manifest$} } keys %{snapshot($repo)};
is("@manifests", '', 'and is none');
$stanza->run_ok('backup', '--type=full', '--no-online', '--force', { name => 'the next one works' });

# --- a full disk there ---

my $full = PgStrata::Sshd->new(limit => "trap '' XFSZ; ulimit -f 4000");
my $small = PgStrata::Stanza->new(cluster => $pg, id => 'small', options => { global => {
	%{$full->repo_options(1, work_dir() . '/small repo')}, 'compress-type' => 'none' } });
$small->run_ok('stanza-create');
$small->run_fail('archive-push', $wal, { name => 'a full disk',
	like => qr{unable to write '.*/small repo/archive/demo/.*SFTP status \[4\] failure.*space left}s });
my @left = grep { /\.tmp$|-[0-9a-f]{40}$/ } keys %{snapshot(work_dir() . '/small repo')};
is("@left", '', 'leaves nothing');

# --- a server without extensions ---

my $bare = PgStrata::Sshd->new(subsystem => '/usr/lib/openssh/sftp-server -P posix-rename,fsync,hardlink');
my $plain = PgStrata::Stanza->new(cluster => $pg, id => 'plain', options => { global => {
	%{$bare->repo_options(1, work_dir() . '/plain repo')}, 'repo1-retention-full' => 1, 'repo1-bundle' => 'y' } });
$plain->run_ok('stanza-create');
$plain->run_ok('archive-push', $wal);
$plain->run_ok('archive-push', $wal, { name => 'the same again', like => qr/already exists/ });
$plain->run_ok('backup', '--type=full', '--no-online', '--force', { name => "full backup $_" }) for 1 .. 2;
$plain->run_ok('verify');
my @aside = grep { /\.tmp$/ } keys %{snapshot(work_dir() . '/plain repo')};
is("@aside", '', 'what was moved aside is gone');
$pg->stop;
done_testing;
