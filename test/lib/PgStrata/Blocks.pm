# PgStrata::Blocks: files whose story is about blocks, and what a manifest says of them.
#
#	block_files("$data/extra", 0);		as they are in the beginning
#	block_files("$data/extra", 1);		one step later
#	my $rows = manifest_rows($stanza, $label);
#	print $rows->{'pg_data/extra/cut'}{bim};
#
# Always true: the same step leads to the same bytes, whatever was there before, but for the file `scattered`, which
# changes from step to step, and `comes`, which is not always there.
package PgStrata::Blocks;
use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();
use PgStrata;

use constant BLOCK => 8192;

our @EXPORT = qw(BLOCK block_files write_at manifest_text manifest_rows);

my $pattern = join '', map { pack 'N', $_ * 2654435761 % 4294967296 } 1 .. 100_000;
my @sizes = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 77, 3 * BLOCK);

sub bytes { my ($from, $length) = @_; return substr $pattern, $from, $length }

# write_at(FILE, OFFSET, BYTES): in a file that is there.
sub write_at {
	my ($name, $offset, $bytes) = @_;
	open(my $file, '+<:raw', $name) or die "$name: $!";
	seek($file, $offset, 0) && print $file $bytes or die "$name: $!";
	close $file or die "$name: $!";
}

my %story = (
	# all sizes around a block, each file another one in each step
	edges => sub {
		my ($dir, $step) = @_;
		spew("$dir/edge $_", bytes(0, $sizes[ ($_ * ($step + 1) + $step) % @sizes ])) for 0 .. $#sizes;
	},
	shrinks => sub { spew("$_[0]/shrinks", bytes(1, (60_000, 5000, 60_000, 100, 90_000, BLOCK)[ $_[1] % 6 ])) },
	# ten of 342 blocks
	scattered => sub {
		my ($dir, $step) = @_;
		return spew("$dir/scattered", $pattern x 7) if $step == 0;
		write_at("$dir/scattered", (($step * 7 + $_ * 23) % 340) * BLOCK + 17 * $_, "changed in $step") for 1 .. 10;
	},
	cut => sub { spew("$_[0]/cut", bytes(0, (20 - $_[1]) * BLOCK)) },
	grows => sub { spew("$_[0]/grows", bytes(0, 30_000 + $_[1] * 10_000)) },
	rewritten => sub { spew("$_[0]/rewritten", bytes($_[1], 80_000)) },
	touched => sub { spew("$_[0]/touched", bytes(0, 50_000)) },
	comes => sub { $_[1] % 3 == 1 ? unlink "$_[0]/comes" : spew("$_[0]/comes", bytes($_[1], 70_000)) },
	new => sub { spew("$_[0]/new $_[1]", bytes($_[1], 40_000)) },
);

# block_files(FOLDER, STEP): the folder is there; steps follow each other from 0.
sub block_files {
	my ($dir, $step) = @_;
	$story{$_}->($dir, $step) for sort keys %story;
}

sub manifest_text {
	my ($stanza, $label) = @_;
	return slurp($stanza->path('repo/backup', $stanza->name, $label, 'backup.manifest'));
}

# What a manifest (of a plain repository) says of each file, by name.
sub manifest_rows {
	my ($stanza, $label) = @_;
	my ($section) = manifest_text($stanza, $label) =~ /^\[target:file\]\n(.*?)\n\n/ms;
	return { map { /^(.*?)=(\{.*\})$/ ? ($1 => JSON::PP::decode_json($2)) : () } split /\n/, $section };
}

1;
