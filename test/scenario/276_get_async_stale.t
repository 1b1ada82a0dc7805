# Whatever lies in the queue of asynchronous archive-get before it looks, what it hands over are the archive's bytes:
# nothing is believed that a dead process, an earlier restore, another cluster, another boot or another program left
# there, and the next run in the background takes it away.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Path qw(remove_tree);
use POSIX qw(mkfifo);
use PgStrata;
use PgStrata::GetAsync;
use PgStrata::Recovery;
use Test::More;

my $line = PgStrata::GetAsync->new(segments => 12, options => { 'process-max' => 2, 'archive-get-queue-max' => '4MB' });
my ($first, $next, $then) = @{$line->{segments}};

# The queue as a get of the first leaves it: with the next four.
sub fill {
	remove_tree($line->queue);
	my ($code) = $line->get($first);
	$line->wait_idle;
	die "the queue is not filled\n" if $code || !-e $line->queue("$next.note");
}

# A test point: a get gives the archive's bytes; afterwards the queue has nothing but segments that are to come, each
# with a note and as in the archive.
sub gives {
	my ($name, %how) = @_;
	my ($code, $bytes, $said) = $line->get($next);
	$line->wait_idle;
	my @wrong;
	push @wrong, "exit $code" if $code;
	push @wrong, 'other bytes than the archive' if ($bytes // '') ne $line->{bytes}{$next};
	push @wrong, 'it came from the queue' if $said =~ /asynchronously/;
	push @wrong, "the queue has $_" for grep { !/^([0-9A-F]{24})(?:\.note)?$/ || $1 le $next || !-f $line->queue($_)
		|| !-e $line->queue($1) || !-e $line->queue("$1.note") } $line->queued;
	for my $segment (grep { /^[0-9A-F]{24}$/ && -f $line->queue($_) } $line->queued) {
		push @wrong, "the queue has other bytes as $segment" if slurp($line->queue($segment)) ne $line->{bytes}{$segment};
	}
	push @wrong, 'the queue is empty' if !-e $line->queue($then);
	ok(!@wrong, $name) or diag(join "\n", @wrong, $said);
}

fill();
my ($code, $bytes, $said) = $line->get($next);
is($code, 0, 'what the queue has is taken');
is($bytes, $line->{bytes}{$next}, 'as it is in the archive');
like($said, qr/INFO: found $next in the archive asynchronously/, 'and said to come from the queue');
ok(!-e $line->queue($next) && !-e $line->queue("$next.note"), 'it is not in the queue any more');

# A note is a text of lines with a checksum; changed lines get a new one.
sub rewrite_note {
	my ($change) = @_;
	local $_ = slurp($line->queue("$next.note"));
	s/checksum \w+\n\z//;
	my $before = $_;
	$change->();
	die "the note is as before\n" if $_ eq $before;
	spew($line->queue("$next.note"), $_, 'checksum ' . sha1_hex($_) . "\n");
}

# The note fits the file that is there now, but for what the change does.
sub fit_note {
	my ($change) = @_;
	my (undef, $stat) = run_command([ 'stat', '-c', '%d %i %s %.9Y %.9Z', $line->queue($next) ]);
	rewrite_note(sub { s/^file .*\n/file $stat/m; $change->() if $change });
}

# Such a note is believed, so it is what a change in it says that keeps the next ones from being so.
fill();
spew($line->queue($next), $line->{bytes}{$next});
fit_note();
like(($line->get($next))[2], qr/asynchronously/, 'a note made by this test is believed if nothing in it is wrong');

my %content = (
	zeros => "\0" x length($line->{bytes}{$next}),
	'a cut segment' => substr($line->{bytes}{$next}, 0, 4096),
	'an empty file' => '',
	'another segment' => $line->{bytes}{$then},
	'a segment and more' => $line->{bytes}{$next} . 'x',
);
for my $what (sort keys %content) {
	fill();
	spew($line->queue($next), $content{$what});
	gives("$what with the note of what was there");
	fill();
	spew($line->queue($next), $content{$what});
	fit_note();
	gives("$what with a note that seems right");
	fill();
	spew($line->queue($next), $content{$what});
	unlink $line->queue("$next.note");
	gives("$what without a note");
}

# Only the note can tell that these bytes are wrong.
my %change = (
	boot => sub { s/^boot .*/boot 01234567-0123-0123-0123-0123456789ab/m },
	'run of the server' => sub { s/^control .*/server 1 1/m },
	'earlier restore' => sub { s/^(control \d+) \d+/$1 1/m },
	cluster => sub { s/^cluster \d+/cluster 1/m },
	'path of the cluster' => sub { s/^(cluster .*)/$1x/m },
	system => sub { s/^system \d/system 0/m },
	repository => sub { s/^(repo1 .*)/$1x/m },
	'number of repositories' => sub { $_ .= "repo2 posix none /repo\n" },
	segment => sub { s/^segment .*/segment $then/m },
	form => sub { s/queue 1/queue 2/ },
	checksum => sub { s/^sha1 ..../sha1 1234/m; $_ .= "checksum 0\n" },
);
for my $what (sort keys %change) {
	fill();
	flip_bit($line->queue($next), 500_000);
	fit_note($change{$what});
	gives("a note that differs in: $what");
}

# Not a file, or one of another program; in place of a segment, and in place of its note.
my %thing = (
	'a folder' => sub { mkdir $_[0] or die "mkdir: $!"; spew("$_[0]/file", 'x') },
	'a link' => sub {
		spew(work_dir() . '/linked', $content{zeros});
		symlink(work_dir() . '/linked', $_[0]) or die "link: $!";
	},
	'a link to nothing' => sub { symlink('/nonexistent', $_[0]) or die "link: $!" },
	'a FIFO' => sub { mkfifo($_[0], 0600) or die "mkfifo: $!" },
	'garbage' => sub { spew($_[0], "\xff\0garbage" x 20_000) },
	'a file that cannot be read' => sub { spew($_[0], $content{zeros}); chmod 0, $_[0] },
);
for my $what (sort keys %thing) {
	for my $name ($next, "$next.note") {
		fill();
		unlink $line->queue($name) or die "unlink: $!";
		$thing{$what}->($line->queue($name));
		gives("$what in place of the " . ($name eq $next ? 'segment' : 'note'));
	}
}
ok(-e work_dir() . '/linked', 'where a link led nothing is removed');

# All that another program, or a dead process, may leave.
remove_tree($line->queue);
mkdir $line->queue or die "mkdir: $!";
spew($line->queue($_), '') for "$next.ok", "$then.ok", 'global.ok';
spew($line->queue($_), "125\nsomething went wrong") for "$next.error", "$then.error", 'global.error';
spew($line->queue($_), $content{zeros}) for $then, "$next.pgstrata.tmp-1", "$next.pgbackrest.tmp", "$then.note", 'x';
mkdir $line->queue('folder') or die "mkdir: $!";
gives('what other programs and dead processes leave');

# The same for true: the queue of an earlier restore, and of another cluster of the same name.
sub not_from_the_queue {
	my ($name) = @_;
	my ($code, $bytes, $said) = $line->get($next);
	ok($code == 0 && $bytes eq $line->{bytes}{$next} && $said =~ /found $next in the repo1: /, $name)
		or diag("exit $code\n$said");
	$line->wait_idle;
}

fill();
my $control = "$line->{data}/global/pg_control";
run_command([ 'cp', '-a', $control, "$control.new" ]);
rename "$control.new", $control or die "rename: $!";
not_from_the_queue('a new pg_control: nothing of the queue is believed');
fill();
spew("$line->{data}/postmaster.pid", "4711\n$line->{data}\n1700000000\n5432\n");
not_from_the_queue('a server has started: nothing of the queue is believed');
fill();
spew("$line->{data}/postmaster.pid", "4711\n$line->{data}\n1700000001\n5432\n");
not_from_the_queue('another start of the server: nothing of the queue is believed');
unlink "$line->{data}/postmaster.pid";
fill();
rename $line->{data}, "$line->{data}.away" or die "rename: $!";
copy_tree("$line->{data}.away", $line->{data});
not_from_the_queue('another data directory: nothing of the queue is believed');

# A standby asks for the end of its archive again and again: nothing is there to be fetched ahead, and nobody is sent.
remove_tree($line->queue);
my $behind = sprintf '%s%08X', substr($line->{segments}[-1], 0, 16), hex(substr($line->{segments}[-1], 16)) + 1;
($code, $bytes, $said) = $line->get($behind);
is($code, 1, 'the end of the archive');
ok(!-e $line->queue, 'starts no background');

done_testing();
