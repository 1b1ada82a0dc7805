# Promise P1 under kill -9: archive-push is killed at random moments while a server writes.  What PostgreSQL was told
# to be archived can be fetched and is what was pushed; each segment is stored once and whole; the same push run
# again succeeds; a restore has every row whose commit was acknowledged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $wanted = deep_run() ? 400 : 60;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['wal_keep_size = 8GB', 'autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg);
my $dir = work_dir();
my ($kept, $kills, $done, $odd, $armed) = map { "$dir/$_" } qw(kept kills done odd armed);
mkdir $kept;
spew($_, '') for $kills, $done, $odd;

# The archive_command: keeps a copy, then runs the program, and again as long as it kills it: from outside after a
# random time, or where the build can inject faults, before a random system call.  Some of the failures are
# PostgreSQL's to repeat.  The codec changes from run to run, as if somebody changed the configuration.
my $command = "$dir/pgstrata-push.pl";
my @words = $stanza->command('archive-push');
spew($command, <<"END" . <<'END');
#!$^X
my \@words = (@{[ join ', ', map { "'$_'" } @words ]});
my (\$kept, \$kills, \$done, \$odd, \$armed) = ('$kept', '$kills', '$done', '$odd', '$armed');
END
use strict;
use Time::HiRes qw(sleep);
use File::Copy qw(copy);
use File::Compare qw(compare);
my $file = shift;
my ($name) = $file =~ m{([^/]+)$};
sub note { open(my $out, '>>', $_[0]) or die; syswrite $out, "$_[1]\n" }
if (-e "$kept/$name") {
	note($odd, "$name was pushed with two contents") if compare($file, "$kept/$name") != 0;
} else {
	copy($file, "$kept/$name") or die;
}
my $tries = 0;
for (;;) {
	my $kill = -e $armed ? int(rand(++$tries > 3 ? 3 : 2)) : 2;
	my $child = fork // die;
	if ($child == 0) {
		$ENV{PGSTRATA_FAULT} = 'any:' . (1 + int(rand(9))) . ':kill' if $kill == 0;
		exec @words, '--compress-type=' . (qw(none lz4 zst gz))[rand 4], $file;
		exit 127;
	}
	if ($kill == 1) {
		sleep rand(0.04);
		kill 'KILL', $child;
	}
	waitpid $child, 0;
	if ($? == 0) {
		note($done, $name);
		exit 0;
	}
	# a system call is its working process's, whose death it tells
	if ($? == 9 || $kill == 0 && $? >> 8 == 125) {
		note($kills, $kill);
		exit 1 if rand(100) < 3;
		next;
	}
	note($odd, "$name: status $?");
	exit 1;
}
END
chmod 0755, $command;

$pg->conf_add('archive_mode = on', "archive_command = '$command %p'");
$pg->start;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full', '--archive-timeout=30');

spew($armed, '');
my $count = sub { scalar(() = slurp($_[0]) =~ /\n/g) };
my ($rows, $crashed, $end) = (1, 0);
until ($count->($kills) >= $wanted || $rows > 40 * $wanted) {
	write_rows($pg, 4);
	$rows += 4;
	$end = $pg->switch_wal;
	$pg->wait_archived($end) if $rows % 12 == 1;
	if (!$crashed && $count->($kills) > $wanted / 2) {
		$crashed = 1;
		$pg->restart('immediate');
	}
}
unlink $armed;
write_rows($pg, 1);
$rows++;
my $state = row_state($pg);
like($state, qr/^$rows\|1\|/, "$rows acknowledged commits");
$end = $pg->switch_wal;
ok($pg->wait_archived($end), "all segments up to $end are archived");
$pg->stop;

cmp_ok($count->($kills), '>=', $wanted, 'enough kills');
my %kills;
$kills{$_}++ for split /\n/, slurp($kills);
diag("kills from outside: $kills{1}, before a system call: " . ($kills{0} // 0));
is(slurp($odd), '', 'nothing but kills ended a push, and no segment had two contents');

# What PostgreSQL believes to be archived.
my %acknowledged = map { $_ => 1 } split /\n/, slurp($done);
my @marked = map { m{([^/]+)\.done$} } glob $pg->data . '/pg_wal/archive_status/*.done';
cmp_ok(scalar @marked, '>', 10, 'segments are marked as done: ' . @marked);
is_deeply([ grep { !$acknowledged{$_} } @marked ], [], 'each by a push that said so');
is_deeply([ grep { !-e "$kept/$_" } @marked ], [], 'each is kept here for comparison');

my @segments = grep { /^[0-9A-F]{24}$/ } sort keys %acknowledged;
is_deeply([ wal_names($stanza) ], \@segments, 'the archive has each of them, and once');
my @wrong;
for my $name (sort keys %acknowledged) {
	my $dest = "$dir/fetched";
	unlink $dest;
	my ($code, $out, $err) = $stanza->run('archive-get', $name, $dest, { dir => '/' });
	push @wrong, "$name: exit $code\n$out$err" if $code;
	push @wrong, "$name: other bytes" if !$code && slurp($dest) ne slurp("$kept/$name");
}
is_deeply(\@wrong, [], 'each can be fetched, and is what was pushed');

my $before = snapshot($stanza->path('repo'), ignore => qr/\.tmp$/);
@wrong = ();
for my $name (sort keys %acknowledged) {
	my ($code, $out, $err) = $stanza->run('archive-push', "$kept/$name");
	push @wrong, "$name: exit $code\n$out$err" if $code || ($out . $err) !~ /already exists .* same checksum/;
}
is_deeply(\@wrong, [], 'each can be pushed again');
same_tree($before, snapshot($stanza->path('repo'), ignore => qr/\.tmp$/), 'which changes nothing');

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
$stanza->set_cluster($restored);
mkdir $restored->data, 0700 or die "mkdir: $!";
$stanza->run_ok('restore', '--archive-mode=off');
recovers_whole($restored, $state, 'the restored server');

done_testing();
