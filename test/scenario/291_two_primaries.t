# Lesson N5: two primaries of one system identifier (a copy of the data directory that was started too) archive into one
# stanza.  Of two contents for one name the first stays, the second is refused by an error that names the file, in the
# foreground and in the background; its server keeps it; and `check` on the second server fails.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $short = { 'archive-timeout' => '3s', 'compress-type' => 'lz4' };
my $one = PgStrata::Cluster->new(name => 'one', wal_segsize => 1, conf => [ 'wal_keep_size = 1GB', 'autovacuum = off',
	'archive_mode = on', "archive_command = ''" ]);
my $first = PgStrata::Stanza->new(cluster => $one, options => { global => $short });
$one->start;
$first->run_ok('stanza-create');
$one->stop;
copy_tree($one->data, work_dir() . '/two');
my $two = PgStrata::Cluster->new(name => 'two', init => 0);
my $second = PgStrata::Stanza->new(cluster => $two, id => 'second', options => {
	global => { %$short, 'repo1-path' => $first->path('repo') } });
$_->start for $one, $two;

# Segments of the same names: what is pushed at the same moment.
my $rounds = deep_run() ? 500 : full_run() ? 60 : 15;
my @names;
until (@names >= $rounds) {
	my %name = map { $_->name => ($_->psql("SELECT pg_logical_emit_message(false, '', '" . $_->name . "')"), $_->switch_wal)[1] } $one, $two;
	die "the servers do not go on in step: $name{one}, $name{two}\n" if $name{one} ne $name{two};
	push @names, $name{one};
}

sub content { my ($pg, $name) = @_; return slurp($pg->data . "/pg_wal/$name") }
sub fetched {
	my ($name) = @_;
	my $dest = work_dir() . '/fetched';
	unlink $dest;
	my ($code) = $first->run('archive-get', $name, $dest, { dir => '/' });
	return $code ? "exit $code" : slurp($dest);
}

my (@wrong, %ends);
for my $name (@names) {
	my %side = (one => [ $one, $first ], two => [ $two, $second ]);
	my %run = map { my ($pg, $stanza) = @{ $side{$_} };
		$_ => spawn_command([ $stanza->command('archive-push', $pg->data . "/pg_wal/$name") ]) } keys %side;
	my %code = map { $_ => (reap($run{$_}))[0] } keys %run;
	$ends{join ' ', sort values %code}++;
	my @winners = grep { $code{$_} == 0 } keys %code;
	push @wrong, "$name: both succeeded" if @winners > 1;
	push @wrong, "$name: " . join ' ', %code if grep { $_ != 0 && $_ != 45 } values %code;
	# what was refused stays refused; if both were, the next one wins
	my $settled = @winners ? $winners[0] : 'one';
	for my $who ($settled, grep { $_ ne $settled } keys %side) {
		my ($pg, $stanza) = @{ $side{$who} };
		my ($code, $out, $err) = $stanza->run('archive-push', $pg->data . "/pg_wal/$name");
		push @wrong, "$name again by $who: $code\n$out$err" if $code != ($who eq $settled ? 0 : 45);
	}
	push @wrong, "$name: not what the first had" if fetched($name) ne content($side{$settled}[0], $name);
}
diag(join ', ', map { "exit codes $_: $ends{$_}" } sort keys %ends);
is_deeply(\@wrong, [], 'pushed at the same moment: one content at most is stored, and the other refused');

# From here on archive by this command; none: nothing is archived.
sub archives {
	my ($pg, $stanza, @options) = @_;
	(my $command = $stanza ? $stanza->archive_command(@options) : 'false') =~ s/'/''/g;
	$pg->conf_add("archive_command = '$command'");
	$pg->reload;
	$pg->wait_sql("SELECT current_setting('archive_command')", $stanza ? $stanza->archive_command(@options) : 'false');
}

# One more complete segment, with a content of its own.
sub next_segment {
	my ($pg) = @_;
	$pg->psql("SELECT pg_logical_emit_message(false, '', '" . $pg->name . "')");
	return $pg->switch_wal;
}

# So that both archivers begin with a name that both will write.
unlink glob $_->data . '/pg_wal/archive_status/*.ready' for $one, $two;
archives($one, $first);
for my $mode ('--no-archive-async', '--archive-async') {
	my @ahead = map { next_segment($one) } 1 .. 4;
	my $name = $ahead[0];
	ok($one->wait_archived($ahead[-1]), "$mode: the first is archived") or diag($one->log_tail);
	my $stored = fetched($name);
	my $before = length $two->log_text;
	is(next_segment($two), $name, 'the second comes to the same name') or last;
	archives($two, $second, $mode);
	ok(wait_until(sub { substr($two->log_text, $before) =~
		/\[045\]: .*$name' already exists in the repo1 archive with a different checksum.*\n.*are multiple primaries archiving to this stanza\?/ }, 60),
		"$mode: the log of the second names it") or diag($two->log_tail);
	is(fetched($name), $stored, 'what the first pushed is as it was');
	ok(-e $two->data . "/pg_wal/archive_status/$name.ready" && -e $two->data . "/pg_wal/$name", 'the second keeps its own');

	# the segment that check looks for is there, but the other server's
	$second->run_fail('check', { code => 45, name => "$mode: check on the second",
		like => qr/WAL segment [0-9A-F]{24} in the repo1 archive is different .*HINT: are multiple primaries/s });
	$first->run_ok('check', { name => "$mode: check on the first" });

	# the second forgets it and catches up
	archives($two);
	my ($last) = next_segment($one);
	1 while next_segment($two) lt $last;
	unlink glob $two->data . '/pg_wal/archive_status/*.ready';
}
$_->stop('immediate') for $one, $two;

done_testing();
