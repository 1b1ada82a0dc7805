# Two hosts: which command runs where, what the key's line says and what check tells of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Hosts;
use Test::More;

need_sshd();
my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $hosts = PgStrata::Hosts->new(cluster => $pg, pg => { global => { 'archive-timeout' => '20s' } },
	repo => { global => { 'archive-timeout' => '20s', 'repo1-retention-full' => 2 } });
my ($repo, $db) = ($hosts->repo, $hosts->pg);
my $got = work_dir() . '/got';
my %public = map { ($_ => $hosts->key($_) . '.pub') } qw(repo pg);

# --- which command runs where ---

$db->run_fail($_, { code => 72, like => qr/\[072\]: $_ command must be run on the repository host\n\s+HINT: that is '127\.0\.0\.1'/,
	name => "$_ is for the repository's host" }) for qw(backup expire verify stanza-create stanza-upgrade);
$db->run_fail('stanza-delete', '--force', { code => 72, like => qr/must be run on the repository host/ });
$db->run_fail('annotate', '--set=20261120-112352F', '--annotation=a=b', { code => 72, like => qr/must be run on the repository host/ });
$repo->run_fail(@$_, { code => 72, like => qr/\[072\]: $_->[0] command must be run on the PostgreSQL host/,
	name => "$_->[0] is for PostgreSQL's host" })
	for [ 'restore' ], [ 'archive-push', $pg->data . '/pg_wal/000000010000000000000001' ], [ 'archive-get', '000000010000000000000001', $got ];
$repo->run_fail('backup', '--repo1-host=elsewhere', { code => 27, like => qr/pg and repo hosts cannot both be configured as remote/ });
ok(!glob($repo->path('repo', '*')), 'nothing was made');

# --- the key's line ---

my $config = $repo->config_file;
my $line = $repo->run_ok('--role=archive,restore', 'authorize', $public{pg}, { name => 'authorize' });
my ($type, $body) = split / /, slurp($public{pg});
is($line =~ s/ (\Q$type $body\E) .*\n// ? $line : $line, 'restrict,command="' . program() . " --config=$config --role=archive,restore --stanza=demo serve\"",
	'the line, in front of the key');
is(($repo->run('--role=archive', 'authorize', '-', { stdin => "\n# mine\n$type $body\n" }))[1],
	'restrict,command="' . program() . " --config=$config --role=archive --stanza=demo serve\" $type $body\n", 'from standard input, without a comment');
my ($code, $out, $err) = $repo->run('--role=archive', 'authorize', $public{pg});
like($err, qr{^append this line to \S+/\.ssh/authorized_keys of user \S+ on this host$}, 'where it belongs is said beside it');
spew(my $file = work_dir() . '/key', 'no-pty ' . slurp($public{pg}));
$repo->run_fail('--role=archive', 'authorize', $file, { code => 29, like => qr/has something in front of the key/ });
spew($file, slurp($public{pg}) . slurp($public{repo}));
$repo->run_fail('--role=archive', 'authorize', $file, { code => 29, like => qr/has more than one line with a key/ });
spew($file, "$type " . substr($body, 0, 40) . "\n");
$repo->run_fail('--role=archive', 'authorize', $file, { code => 29, like => qr/is not a whole public key/ });
spew($file, "ssh-rsa $body\n");
$repo->run_fail('--role=archive', 'authorize', $file, { code => 29, like => qr/is not a whole public key/, name => 'a key of another type' });
$repo->run_fail('--role=archive', 'authorize', $hosts->key('pg'), { code => 29, like => qr/is a private key/, name => 'a private key' });
$repo->run_fail('--role=archive', 'authorize', { code => 43 });
$repo->run_fail('--role=archive,all', 'authorize', $public{pg}, { code => 32, like => qr/'all' is not a role/ });
$repo->run_fail('--role=', 'authorize', $public{pg}, { code => 32 });

# Names that neither a shell nor sshd must take for anything else.
my $odd = work_dir() . q{/it's "$HOME" \\" `id`};
mkdir $odd or die "mkdir: $!";
spew("$odd/a;b.conf", slurp($config));
($code, $out, $err) = run_command([ program(), "--config=$odd/a;b.conf", '--stanza=demo', '--role=archive,restore', 'authorize', $public{pg} ]);
is($code, 0, 'authorize with a strange name') or diag $err;
$hosts->sshd->authorize_lines($out, $hosts->authorized_line('pg'));
$pg->archive_to($db);
$pg->start;
$repo->run_ok('stanza-create');
$db->run_ok('info', { like => qr/stanza: demo\n.*no valid backups/s, name => 'that file is what the other side reads' });

# --- what check says ---

my @check = ('check', '--log-level-console=info');
$hosts->let_in;
$db->run_ok(@check, { like => qr/INFO: repo1 host '127\.0\.0\.1' permits archive, restore for stanza 'demo' only\n/, unlike => qr/WARN/,
	name => 'check: the key is bound' });
$repo->run_ok(@check, { like => qr/INFO: pg1 host '127\.0\.0\.1' permits backup for stanza 'demo' only\n/, unlike => qr/WARN/,
	name => 'check on the other side' });
$hosts->sshd->authorize_lines(map { slurp($public{$_}) } qw(pg repo));
$db->run_ok(@check, { like => qr/WARN: repo1 host '127\.0\.0\.1' permits this host all that its user may do there\n\s+HINT: .*--role=archive,restore authorize/,
	name => 'check: it is not' });
$repo->run_ok(@check, { like => qr/WARN: pg1 host '127\.0\.0\.1' permits this host all that its user may do there\n\s+HINT: .*--role=backup authorize/,
	name => 'check on the other side' });
$hosts->sshd->authorize_lines($hosts->authorized_line('pg'),
	'restrict,command="' . program() . " --config=$config --role=archive,restore serve\" $type $body\n");
$db->run_ok(@check, { like => qr/WARN: repo1 host '127\.0\.0\.1' permits archive, restore for all stanzas\n\s+HINT: name the stanza/,
	name => 'check: for all stanzas' });

# --- serve by hand ---

($code, $out, $err) = $repo->run('--role=restore', 'serve', { stdin => '' });
is("$code $err", '0 ', 'serve, and nobody there');
like($out, qr/^PGSTRATA.*demo/s, 'greets, and says nothing else');
unlike($out, qr/P00|INFO|DETAIL/, 'on standard output');
$db->run_fail('--role=archive', 'serve', { code => 72, like => qr/nothing that the role 'archive' is for is configured as being on this host/ });
($code, $out, $err) = run_command([ program(), "--config=$config", '--role=backup', 'serve' ]);
is("$code $out", '37 ', 'a cluster without a stanza');
$pg->stop;
$hosts->quiet('when all is done');
done_testing;
