# WAL that archive-push has given up (archive-push-queue-max) is told as such: by verify, where the hole stops recovery,
# and by verify --archive, where it is lost.  Without a note a hole stays a hole, and nothing is said of dropping.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'autovacuum = off' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'repo1-retention-full' => 9,
	'archive-push-queue-max' => '2MB', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'open sesame' } });
$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
$stanza->run_ok('backup', '--type=full');
write_rows($pg, 20);
ok($pg->wait_archived($pg->switch_wal), 'all is archived');
my $archive = $stanza->path('repo', 'archive', 'demo', $pg->version . '-1');

sub segments {
	my ($folder) = grep { -d } map { "$archive/$_" } '0000000100000000';
	opendir(my $in, $folder) or die "$folder: $!";
	return map { "$folder/$_" } sort grep { /^[0-9A-F]{24}-/ } readdir $in;
}
sub make_old { utime time - 3600, time - 3600, segments() }

# --- the repository is away until the queue is full ---

rename $stanza->path('repo'), $stanza->path('away') or die "rename: $!";
write_rows($pg, 80);
$pg->switch_wal;
ok(wait_until(sub { $pg->log_text =~ /dropped WAL file/ }), 'while the repository is away WAL is dropped');
rename $stanza->path('away'), $stanza->path('repo') or die "rename: $!";
my $at_end = $pg->log_text =~ /.*dropped WAL file '(\w+)'/s ? $1 : '';
for (1 .. 4) { # never more than the queue holds
	write_rows($pg, 8);
	$pg->wait_archived($pg->switch_wal) or fail('archiving goes on');
}
make_old();
my $how = qr/dropped by archive-push on 20\d\d-\d\d-\d\d [^:]+:\d\d:\S+: \S/;
$stanza->run_fail('verify', { code => 104, name => 'verify tells of the drop', like => qr/has a hole, .*$how/ });
$stanza->run_fail('verify', '--archive', { code => 2, name => 'so does verify --archive',
	like => qr/MISSING_LOST.*note: WAL segment [0-9A-F]{24} was $how/s });

# --- a hole that nobody noted; and one that was only in part ---

my $gone = (segments())[-2];
rename $gone, "$gone.gone";
my ($code, $out) = $stanza->run('verify', '--log-level-console=warn');
my ($name) = $gone =~ m{/([0-9A-F]{24})-};
my @lines = grep { /$name is missing/ } split /\n/, $out;
is(scalar(@lines), 1, 'a hole that nobody noted is told') or diag($out);
unlike("@lines", qr/dropped/, 'and not as dropped');
rename "$gone.gone", $gone or die "rename: $!";
my ($end) = $out =~ /has a hole, segments? (?:\w+ to )?(\w+) (?:is|are) missing/;
rename $_, "$_.gone" for grep { m{/([0-9A-F]{24})-} && $1 eq sprintf '%s%08X', substr($end, 0, 16), 1 + hex substr $end, 16 } segments();
$stanza->run_fail('verify', { code => 104, name => 'a hole of which only a part was dropped', like => qr/has a hole, .*in part $how/ });

# --- dropped behind all that is there: no later name tells, but the note does ---

for my $file (segments()) {
	rename $file, "$file.gone" if $file =~ m{/(\w{24})-} && $1 gt $at_end;
}
$stanza->run_fail('verify', { code => 104, name => 'what was dropped at the end of the archive', unlike => qr/has a hole/,
	like => qr/WARN: archive \S+: .*$how/ });

done_testing();
