# The shortest way through everything: a server archives and is backed up, is lost, is restored, and
# has all its rows, those of the backup and those that were only in the archived WAL.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my $pg = PgStrata::Cluster->new(checksums => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg);
$pg->archive_to($stanza);
$pg->start;

$stanza->run_ok('stanza-create', { like => qr/stanza-create for stanza 'demo' on repo1/ });
$stanza->run_ok('check', { like => qr/successfully archived to '.*' on repo1/ });

$pg->psql('CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 10000) AS id');
my $out = $stanza->run_ok('backup', '--type=full', { like => qr/new backup label = \d{8}-\d{6}F/ });
my ($label) = $out =~ /new backup label = (\S+)/;

my $text = $stanza->run_ok('info', { like => qr/full backup: \Q$label\E/ });
like($text, qr/^stanza: demo\n    status: ok\n/, 'info as text says ok');
my $info = $stanza->info;
is($info->[0]{status}{code}, 0, 'info as JSON says ok');
is_deeply([ $stanza->labels ], [$label], 'info as JSON lists the backup');

$pg->psql('INSERT INTO t SELECT id, md5(id::text) FROM generate_series(10001, 12000) AS id');
my $query = 'SELECT count(*), sum(id), md5(string_agg(text, NULL ORDER BY id)) FROM t';
my $before = $pg->psql($query);
my $segment = $pg->switch_wal;
ok($pg->wait_archived($segment), "the last segment $segment is archived");
$pg->stop;

$pg->remove_data;
mkdir $pg->data, 0700 or die "mkdir: $!";
$stanza->run_ok('restore', { like => qr/restore backup set \Q$label\E/ });
$pg->start;
$pg->wait_for_recovery_end;
is($pg->psql($query), $before, 'all rows are back');
like($pg->psql('SHOW data_checksums'), qr/on/, 'the cluster is as it was set up');

done_testing();
