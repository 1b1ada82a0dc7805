# PgStrata::Fixtures: stored repositories (test/data/interop), and the lists of what a restore makes of them.
#
#	my $stanza = unpack_fixture('pg18-bz2-bundle', $pg_path);
#	for my $list (fixture_lists('pg18-bz2-bundle')) {
#		... restore --set=$list->{label} @{ $list->{options} }
#		is(join("\n", list_differences($list->{entry}, found_everywhere($list->{entry}, $pg_path))), '');
#	}
package PgStrata::Fixtures;
use strict;
use warnings;
use Digest::SHA;
use Exporter qw(import);
use FindBin;
use PgStrata;
use Test::More;

our @EXPORT = qw(need_zstd fixture_dir fixture_place unpack_fixture fixture_lists found_everywhere list_differences
	sum_of);

my $data = "$FindBin::Bin/../data/interop";

sub fixture_dir { return $data }

sub need_zstd {
	my ($code) = run_command([ 'zstd', '--version' ]);
	plan(skip_all => 'the program zstd is not installed') if $code;
}

# unpack_fixture(NAME, PG_PATH [, ID]): a stanza on a copy of a stored repository.  No server of its version is needed: restore makes the cluster.
sub unpack_fixture {
	my ($name, $pg_path, $id) = @_;
	my $stanza = PgStrata::Stanza->new(id => $id // $name, options => { demo => { 'pg1-path' => $pg_path } });
	$stanza->set(global => { 'log-path' => undef, 'log-level-file' => 'off', 'process-max' => 2 });
	$stanza->set(global => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $1 })
		if slurp("$data/$name.expected.txt") =~ /^# .*repository passphrase: (\S+)$/m && $1 ne 'none';
	my ($code, $out, $err) = run_command([ 'sh', '-c', 'zstd -dc "$1" | tar -xf - -C "$2" --no-same-owner', 'sh',
		"$data/$name.tar.zst", $stanza->path ]);
	die "unpacking $name: $err" if $code;
	return $stanza;
}

# Where the lists say @ts, @ext and @etc.
my %place;

sub fixture_place {
	%place = map { ("\@$_" => work_dir() . "/$_") } qw(ts ext etc) if !%place;
	return @_ ? $place{ $_[0] } : values %place;
}

# fixture_lists(NAME): for each list its label, the options of the restore and the entries: path => [ type, mode, size,
# SHA-256 or destination ].
sub fixture_lists {
	my ($name) = @_;
	my ($label, @lists);
	for my $line (split /\n/, slurp("$data/$name.expected.txt")) {
		$label = $1 if $line =~ /^== backup (\S+)/;
		push @lists, { label => $label, options => [ grep { /^--./ } split / /, $1 ], entry => {} }
			if $line =~ /^-- restore (.*)/;
		my ($type, $mode, $size, $sum, $path, $target) = split /\t/, $line;
		next if !defined $path || $type eq 'stored';
		$lists[-1]{entry}{$path} = [ $type, $mode, $size, $type eq 'l' ? $target =~ s/^-> //r : $sum ];
	}
	return @lists;
}

sub sum_of { return Digest::SHA->new($_[0])->addfile($_[1], 'b')->hexdigest }

# What stands on disk below DIR, in the form of fixture_lists(), with PREFIX before each path.
sub found {
	my ($dir, $prefix) = @_;
	my $tree = snapshot($dir);
	my %found;
	for my $path (grep { $_ ne '.' } keys %$tree) {
		my ($type, $mode, $size) = split / /, $tree->{$path};
		$found{"$prefix$path"} =
			$type eq 'f' ? [ 'f', $mode, $size, sum_of(256, "$dir/$path") ]
			: $type eq 'd' ? [ 'd', $mode, '-', '-' ]
			: [ 'l', '-', '-', $mode ];
	}
	return \%found;
}

sub list_differences {
	my ($expected, $found) = @_;
	my %all = (%$expected, %$found);
	my @wrong;
	for my $path (sort keys %all) {
		my ($want, $have) = map { $_->{$path} ? join(' ', @{ $_->{$path} }) : 'missing' } $expected, $found;
		push @wrong, "$path: $want -> $have" if $want ne $have;
	}
	return @wrong;
}

# What was restored, places outside of the data directory included, in the form of fixture_lists().
sub found_everywhere {
	my ($expected, $pg_path) = @_;
	my $found = found($pg_path, '');
	fixture_place();
	for my $at (grep { exists $expected->{$_} } keys %place) {
		my $below = found($place{$at}, "$at/");
		my $mode = sprintf '%04o', 07777 & (stat $place{$at})[2];
		@$found{ $at, keys %$below } = ([ 'd', $mode, '-', '-' ], values %$below);
		$_->[3] =~ s/\A\Q$place{$at}\E/$at/ for values %$found;
	}
	return $found;
}

1;
