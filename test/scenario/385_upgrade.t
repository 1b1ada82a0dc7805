# stanza-upgrade, and a stanza with a history: what was backed up and archived from an earlier cluster still comes back
# whole (lesson B7), new WAL and backups go to the new id, and an interrupted upgrade is completed by the next one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my @versions = pg_versions();
my $old = PgStrata::Cluster->new(name => 'old', version => $versions[0], wal_segsize => 1);
my $new = PgStrata::Cluster->new(name => 'new', wal_segsize => 1);
my $place = PgStrata::Cluster->new(name => 'place', version => $versions[0], init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $old, options => { global => { 'repo2-path' => work_dir() . '/repo2',
	'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'secret', 'archive-timeout' => '10s' } });
my @repos = ($stanza->path('repo'), work_dir() . '/repo2');
my @names = map { ($_, "$_.copy") } qw(archive/demo/archive.info backup/demo/backup.info);
my %id = map { $_->must('pg_controldata', '-D', $_->data) =~ /system identifier: +(\d+)/ ? ($_->name => $1) : () } $old, $new;

sub written { return join ' ', map { my @s = stat; "$s[1]:$s[9]" } map { my $r = $_; map { "$r/$_" } @names } @_ }
sub archive_all {
	my ($pg) = @_;
	my $segment = $pg->switch_wal;
	$pg->wait_archived($segment) or die "segment $segment was not archived\n" . $pg->log_tail;
}
sub backup {
	my $out = $stanza->run_ok('backup', @_);
	return $out =~ /new backup label = (\S+)/ ? $1 : die "no label\n";
}

# --- the first cluster ---

$old->archive_to($stanza);
$old->start;
$old->psql('CREATE TABLE t (id int)');
$stanza->run_ok('stanza-create');
$old->psql('INSERT INTO t VALUES (1)');
my @first = (backup('--type=full', '--repo=1'), backup('--type=full', '--repo=2'));
$old->psql('INSERT INTO t VALUES (2)');
archive_all($old);
my @up_to_date = map { qr/stanza-upgrade for stanza 'demo' on repo$_\n.*stanza 'demo' on repo$_ is already up to date\n/ } 1, 2;
my $before = written(@repos);
$stanza->run_ok('stanza-upgrade', { name => 'nothing to upgrade', like => qr/$up_to_date[0].*$up_to_date[1]/s });
is(written(@repos), $before, 'nothing was written');
$old->stop;

# --- another cluster comes ---

$stanza->set_cluster($new);
$new->archive_to($stanza);
$stanza->run_fail('stanza-upgrade', { code => 56, name => 'no server runs', like => qr/\[056\]: unable to find primary cluster - cannot proceed/ });
$new->start;
$new->psql('CREATE TABLE t (id int)');
my $is = qr/version = \Q$versions[0]\E, system-id = $id{old}.*version = \Q@{[$new->version]}\E, system-id = $id{new}/s;
$stanza->run_fail('stanza-create', { code => 28, name => 'before: stanza-create', like => $is });
$stanza->run_fail('check', { code => 28, name => 'before: check', like => $is });
$stanza->run_fail('backup', '--type=full', { code => 51, name => 'before: backup' });
my ($wal) = glob $new->data . '/pg_wal/' . '?' x 24;
$stanza->run_fail('archive-push', $wal, { name => 'before: archive-push', like => qr/ArchiveMismatchError/ });
$stanza->run_fail('stanza-upgrade', '--repo=1', { code => 31, name => 'all repositories or none' });
is(written(@repos), $before, 'nothing was written');

$stanza->run_ok('stanza-upgrade', { like => qr/stanza-upgrade for stanza 'demo' on repo1\n.*stanza-upgrade for stanza 'demo' on repo2\n/, unlike => qr/up to date|WARN/ });
for my $name (@names) {
	like(slurp("$repos[0]/$name"), qr/^\[db\]\n(db-c.*\n)*db-id=2\ndb-system-id=$id{new}\ndb-version="\Q@{[$new->version]}\E"\n\n\[db:history\]\n1=\{.*$id{old}.*\}\n2=\{.*$id{new}.*\}\n\n/m, "$name has both");
	is(sprintf('%04o', (stat "$repos[0]/$name")[2] & 07777), '0640', "$name: mode");
}
$before = written(@repos);
$stanza->run_ok('stanza-upgrade', '--no-online', { name => 'again', like => qr/$up_to_date[0].*$up_to_date[1]/s });
is(written(@repos), $before, 'nothing was written');

# --- it works, and the old one is still there ---

archive_all($new);
$stanza->run_ok('check');
my @second = (backup('--repo=1'), backup('--repo=2'));
unlike("@second", qr/_/, 'a backup of the new cluster depends on none of the old');
$new->psql('INSERT INTO t VALUES (10)');
archive_all($new);

# The archives of a repository as info tells them, by what is in the folders.
sub archives {
	my ($repo, $key, @ids) = @_;
	return map {
		my @segments = sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}[^/]*$} } glob "$repo/archive/demo/$_->[0]/*/*";
		{ database => { id => $_->[1], 'repo-key' => $key }, id => $_->[0], min => $segments[0], max => $segments[-1] };
	} @ids;
}
my @ids = ([ "$versions[0]-1", 1 ], [ $new->version . '-2', 2 ]);
my $info = $stanza->info->[0];
is_deeply($info->{archive}, [ map { archives($repos[$_ - 1], $_, @ids) } 1, 2 ], 'info: archives');
is_deeply($info->{db}, [ map { ({ id => 1, 'repo-key' => $_, 'system-id' => 0 + $id{old}, version => $versions[0] },
	{ id => 2, 'repo-key' => $_, 'system-id' => 0 + $id{new}, version => $new->version }) } 1, 2 ], 'info: databases');
is_deeply({ map { $_->{label} => $_->{database} } @{$info->{backup}} }, { $first[0] => { id => 1, 'repo-key' => 1 }, $first[1] => { id => 1, 'repo-key' => 2 },
	$second[0] => { id => 2, 'repo-key' => 1 }, $second[1] => { id => 2, 'repo-key' => 2 } }, 'info: backups');
my @ranges = map { my $n = $_; my ($min) = sort map { $_->{min} } grep { $_->{id} eq $n } @{$info->{archive}};
	my ($max) = reverse sort map { $_->{max} } grep { $_->{id} eq $n } @{$info->{archive}}; "$min/$max" } map { $_->[0] } @ids;
my $text = $stanza->run_ok('info', '--log-level-console=off', { name => 'info as text' });
my $body = qr/(?:(?: {8,}.*)?\n)*/;
like($text, qr{^    db \(prior\)\n        wal archive min/max \(\Q$versions[0]\E\): $ranges[0]\n\n        full backup: $first[0]\n$body        full backup: $first[1]\n$body    db \(current\)\n        wal archive min/max \(\Q@{[$new->version]}\E\): $ranges[1]\n\n        full backup: $second[0]\n$body        full backup: $second[1]\n}m, 'first the old cluster, then the new one');
$text = $stanza->run_ok('info', '--log-level-console=off', "--set=$first[0]");
like($text, qr/db \(prior\)\n.*\n\n        full backup: $first[0]\n/, 'a backup of the old cluster');
unlike($text, qr/current/, 'and no other cluster');

# Each cluster gets its own WAL, though the names are the same.
my $got = work_dir() . '/got';
my ($name) = grep { my $n = $_; 2 == grep { my @f = glob "$repos[0]/archive/demo/$_->[0]/*/$n-*"; @f } @ids }
	map { m{/([0-9A-F]{24})-} } glob "$repos[0]/archive/demo/$ids[0][0]/*/*-*";
ok(defined $name, 'both have a segment of one name');
for my $cluster ($old, $new) {
	$stanza->run_ok('archive-get', '--pg1-path=' . $cluster->data, $name, $got, { name => "archive-get for the $cluster->{name} cluster" });
	is(unpack('x24 Q<', slurp($got)), $id{$cluster->name}, 'its segment');
	unlink $got;
}

sub restores {
	my ($what, $rows, @options) = @_;
	$place->remove_data;
	$stanza->run_ok('restore', '--pg1-path=' . $place->data, '--archive-mode=off', @options, { name => "$what: restore" });
	$place->start;
	$place->wait_for_recovery_end;
	is($place->psql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t"), $rows, "$what: all rows");
	is($place->psql('SELECT system_identifier FROM pg_control_system()'), (split / /, $rows)[0] < 10 ? $id{old} : $id{new}, "$what: its cluster");
	$place->stop('immediate');
}
restores("the old cluster from repo$_", '1 2', "--repo=$_", "--set=$first[$_ - 1]") for 1, 2;
$place->{version} = $new->version;
restores('the new cluster', '10');
$new->stop;

# --- and back again: an id is never used twice ---

$stanza->set_cluster($old);
$old->start;
$stanza->run_ok('stanza-upgrade', { name => 'back to the old cluster' });
like(slurp("$repos[0]/$_"), qr/^db-id=3\ndb-system-id=$id{old}\n.*^1=.*^2=.*^3=/ms, "$_ has a third entry") for @names;
$old->psql('INSERT INTO t VALUES (3)');
archive_all($old);
$stanza->run_ok('check');
my $third = backup('--repo=1');
unlike($third, qr/_/, 'a full backup again');
$old->psql('INSERT INTO t VALUES (4)');
archive_all($old);
ok(scalar(my @wal = glob "$repos[0]/archive/demo/$versions[0]-3/*/*"), 'WAL goes to the new id');
$place->{version} = $versions[0];
restores('the first backup with the WAL of two ids', '1 2 3 4', '--repo=1', "--set=$first[0]");
restores('the newest backup', '1 2 3 4', '--repo=1', "--set=$third");
$text = $stanza->run_ok('info', '--log-level-console=off', '--repo=1', { name => 'info after that' });
like($text, qr/db \(prior\)\n$body        full backup: $second[0]\n$body    db \(current\)\n$body        full backup: $first[0]\n$body        full backup: $third\n/, 'one cluster under two ids is one cluster');
$old->stop;

# --- what interrupted runs and damage leave ---

my $one = PgStrata::Stanza->new(id => 'one', name => 'one', cluster => $old);
my $repo = $one->path('repo');
my @one = map { ("archive/one/archive.info$_", "backup/one/backup.info$_") } '', '.copy';
my @upgrade = qw(stanza-upgrade --no-online);
sub keep { return { map { $_ => scalar slurp("$repo/$_") } @one } }
sub put { my ($state, @which) = @_; spew("$repo/$_", $state->{$_}) for grep { my $n = $_; grep { $n =~ /$_/ } @which } @one }
$one->run_ok('stanza-create', '--no-online', { name => 'a stanza of little' });
my $was = keep();
$one->set_cluster($new);
$one->run_ok(@upgrade);
my $should = keep();
for my $case ([ 'between the files' => 'backup' ], [ 'between archive.info and its copy' => 'backup', 'archive.info.copy' ],
	[ 'between backup.info and its copy' => 'backup.info.copy' ]) {
	my ($what, @old) = @$case;
	put($should, '.');
	put($was, @old);
	$one->run_ok(@upgrade, { name => "killed $what: again" });
	is_deeply(keep(), $should, "killed $what: complete");
}
unlink "$repo/archive/one/archive.info.copy", "$repo/backup/one/backup.info";
$one->run_ok(@upgrade, { name => 'with lost files' });
is_deeply(keep(), $should, 'they are there again');
flip_bit("$repo/backup/one/backup.info", 100);
$one->run_ok(@upgrade, { name => 'with a damaged file', like => qr/WARN: unable to load info file/ });
is_deeply(keep(), $should, 'it is mended from its copy');

put($was, 'backup');
$one->set_cluster($old);
my $mixed = keep();
$one->run_fail(@upgrade, { code => 28, name => 'files that will not agree', like => qr/\[028\]: backup info file and archive info file do not match\n.*archive: id = 3, .* system-id = $id{old}\n.*backup : id = 1, .* system-id = $id{old}\n/ });
is_deeply(keep(), $mixed, 'nothing was written');
for my $kind (qw(archive backup)) {
	rename "$repo/$kind/one", "$repo/$kind/hidden" or die;
	$one->run_fail(@upgrade, { code => 55, name => "$kind.info is missing", like => qr/HINT: $kind\.info cannot be opened/ });
	rename "$repo/$kind/hidden", "$repo/$kind/one" or die;
}
chmod 0, "$repo/archive/one/archive.info.copy";
$one->set_cluster($new);
$one->run_fail(@upgrade, { name => 'a file that cannot be read may be the newer one', like => qr/archive\.info\.copy'.*Permission denied/ });
chmod 0640, "$repo/archive/one/archive.info.copy";
$one->run_ok(@upgrade, { name => 'when it can be read again' });
is_deeply(keep(), $should, 'all is as it should be');

done_testing();
