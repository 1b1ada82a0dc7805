# Promise P2 with asynchronous archive-get: whatever is wrong with a segment in the archive, plain or encrypted, in one
# repository or in both, archive-get hands over the right bytes or ends with a code that stops a recovery (outside of
# one with the failure's own).  The queue passes on no failure and no damage.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::GetAsync;
use PgStrata::Recovery;
use Test::More;

# The second repository is encrypted.
my $second = work_dir() . '/second';
mkdir $second or die "mkdir: $!";
my $line = PgStrata::GetAsync->new(segments => 8, repos => { 'repo2-path' => $second,
	'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'secret' },
	options => { 'process-max' => 2, 'archive-get-queue-max' => '4MB' });
my ($first, undef, $wrong, $other) = @{$line->{segments}};
my %root = (1 => $line->{stanza}->path('repo'), 2 => $second);
my $signal = "$line->{data}/recovery.signal";
srand(277);

sub folder_of {
	my ($repo) = @_;
	my $archive = "$root{$repo}/archive/demo";
	my ($id) = grep { /^\d+-\d+$/ } PgStrata::GetAsync::names($archive);
	return "$archive/$id/" . substr($wrong, 0, 16);
}

sub stored {
	my ($repo, $segment) = @_;
	my $folder = folder_of($repo);
	return map { "$folder/$_" } grep { /^$segment-/ } PgStrata::GetAsync::names($folder);
}

# try_case(HOW, ASKED, DAMAGED): repositories that are asked, and those of them where the segment is damaged.
sub try_case {
	my ($how, $asked, $damaged) = @_;
	my $name = "$how, in repository @$damaged of @$asked";
	my %how = (options => @$asked == 1 ? [ "--repo=$asked->[0]" ] : []);
	copy_tree(folder_of($_), work_dir() . "/kept$_") for @$damaged;
	$wal_damage{$how}->(stored($_, $wrong), stored($_, $other)) for @$damaged;
	remove_tree($line->queue);

	# The queue is filled up to the damage before it is come to.
	my @seen;
	for my $segment (@{$line->{segments}}[0 .. 1]) {
		my ($code, $bytes, $said) = $line->get($segment, %how);
		push @seen, "$segment: exit $code\n$said" if $code || $bytes ne $line->{bytes}{$segment};
		$line->wait_idle;
	}
	my ($code, $bytes, $said) = $line->get($wrong, %how);
	if (@$damaged < @$asked) {
		push @seen, "exit $code: $said" if $code || $bytes ne $line->{bytes}{$wrong};
	} else {
		push @seen, "in recovery: exit $code: $said" if $code <= 125 || defined $bytes;
		push @seen, "no failure: $said" if $said !~ /ERROR: \[\d{3}\]: (?:.*\n +)*.*$wrong/;
		rename $signal, "$signal.away" or die "rename: $!";
		($code, $bytes, $said) = $line->get($wrong, %how);
		push @seen, "outside of recovery: exit $code: $said" if $code < 25 || $code > 125 || defined $bytes;
		rename "$signal.away", $signal or die "rename: $!";
	}
	$line->wait_idle;
	for my $repo (@$damaged) {
		run_command([ 'chmod', '-R', 'u+rwX', folder_of($repo) ]);
		remove_tree(my $folder = folder_of($repo));
		rename work_dir() . "/kept$repo", $folder or die "rename: $!";
	}
	($code, $bytes, $said) = $line->get($wrong, %how);
	push @seen, "repaired: exit $code: $said" if $code || $bytes ne $line->{bytes}{$wrong};
	ok(!@seen, $name) or diag(join "\n", @seen);
	$line->wait_idle;
}

for my $how (sort keys %wal_damage) {
	try_case($how, @$_) for [ [1], [1] ], [ [2], [2] ], [ [ 1, 2 ], [ 1, 2 ] ], [ [ 1, 2 ], [1] ], [ [ 1, 2 ], [2] ];
}

# Copies that differ are not for archive-get to choose from: neither ahead nor when it is asked.
my ($good) = stored(1, $wrong);
my ($plain) = $good =~ m{(.*/)};
my $twin = "$plain$wrong-" . ('0' x 40) . '.lz4';
spew($twin, slurp($good));
remove_tree($line->queue);
$line->get($first);
$line->wait_idle;
my ($code, $bytes, $said) = $line->get($wrong);
ok($code == 200 && !defined $bytes && $said =~ /duplicates found for WAL segment $wrong/, 'two copies that differ')
	or diag("exit $code\n$said");

done_testing();
