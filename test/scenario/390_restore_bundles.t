# Restore from chains of bundled backups, plain and encrypted: each backup comes out exactly as it was, over an empty
# place and over any other backup of the chain; what is right already is not read; a damaged or missing bundle fails
# by the name of a file and can be gone on from.
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP ();
use PgStrata;
use Test::More;

my ($space, $mapped) = map { work_dir() . "/$_" } qw(space mapped);
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my ($source, $to) = ($pg->data, work_dir() . '/restored');
my %bundle = ('repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB', 'repo1-bundle-size' => '1MiB',
	'process-max' => 2);
my %chain = (
	plain => { %bundle, 'compress-type' => 'none' },
	blocks => { %bundle, 'compress-type' => 'lz4', 'repo1-block' => 'y' },
	secret => { %bundle, 'compress-type' => 'zst', 'repo1-cipher-type' => 'aes-256-cbc',
		'repo1-cipher-pass' => 'one # "two" ü' },
);
my (%stanza, %tree, @labels);

# --- one history, in two repositories ---

mkdir $space, 0700 or die "mkdir: $!";
$stanza{$_} = PgStrata::Stanza->new(cluster => $pg, id => $_, options => { global => $chain{$_} }) for keys %chain;
$pg->start;
$pg->psql($_) for "CREATE TABLESPACE s LOCATION '$space'", 'CREATE TABLE t AS SELECT generate_series(1, 5000) AS id',
	'CREATE TABLE in_space TABLESPACE s AS SELECT generate_series(1, 5000) AS id', 'CREATE DATABASE other';
$pg->drop_templates;
my $oid = $pg->psql("SELECT oid FROM pg_database WHERE datname = 'other'");
my $space_oid = $pg->psql("SELECT oid FROM pg_tablespace WHERE spcname = 's'"); # without a server names are not known
$pg->stop;
my ($folder) = map { s{.*/}{}r } glob "$space/PG_*";

sub text { my ($seed, $size) = @_; return substr(join(' ', map { $seed * $_ } 1 .. $size / 2 + 2), 0, $size) }
sub content { my ($name, $seed, $size) = @_; spew("$source/extra/$name", text($seed, $size)) }

# What a restore must make: type, mode, size, content and time.
sub tree_of {
	my ($data, $other) = @_;
	my %found;
	for my $place ([ '', $data ], [ 'SPACE/', "$other/$folder" ]) {
		my $tree = snapshot($place->[1], ignore => qr{^(pg_tblspc/.|recovery\.signal|postmaster\.opts|pg_internal\.init)
			|/pg_internal\.init|^(pg_notify|pg_replslot|pg_stat_tmp|pg_subtrans)/.}x);
		for my $name (keys %$tree) {
			my $is_file = $tree->{$name} =~ /^f/ && $name ne 'postgresql.auto.conf';
			$found{"$place->[0]$name"} = $tree->{$name} . ($is_file ? ' ' . (stat "$place->[1]/$name")[9] : '');
		}
	}
	return \%found;
}

# Both take it in one go, so that they hold the same.
sub take {
	my ($type) = @_;
	my %label;
	for my $name (sort keys %stanza) {
		my $out = $stanza{$name}->run_ok('backup', '--no-online', "--type=$type", { name => "$name: $type backup" });
		($label{$name}) = $out =~ /new backup label = (\S+)/ or die "no backup\n";
	}
	push @labels, \%label;
	$tree{ $#labels } = tree_of($source, $space);
}

$stanza{$_}->run_ok('stanza-create', '--no-online', { name => "$_: stanza-create" }) for sort keys %stanza;
make_path("$source/extra/many", "$source/extra/deep/er");
content("many/$_", $_, 1 + $_ * 37 % 9000) for 1 .. 250;
content('large', 3, 300_000);
content('limit', 5, 65536);
content($_, 7, 20_000) for qw(grows shrinks goes deep/er/file emptied replaced touched);
content($_, 7, 0) for qw(empty filled);
chmod 0400, "$source/extra/many/9";
chmod 0751, "$source/extra/deep";
take('full');

content('grows', 7, 70_000);
content('shrinks', 7, 5);
content('emptied', 7, 0);
content('filled', 9, 9000);
content("many/$_", -$_, 1 + $_ * 37 % 9000) for 20 .. 40;
unlink "$source/extra/goes";
utime time, time, "$source/extra/touched";
take('incr');

content('grows', 8, 100);
content('large', 4, 60_000);
content('new', 1, 1000);
unlink "$source/extra/replaced";
make_path("$source/extra/replaced");
content('replaced/inside', 2, 2000);
content("many/$_", $_ + 1, 500) for 100 .. 103;
unlink map { "$source/extra/many/$_" } 200 .. 210;
take('diff');

remove_tree("$source/extra/replaced", "$source/extra/deep");
content('replaced', 7, 20_000);
content('goes', 7, 20_000);
content('emptied', 7, 20_000);
content('large', 3, 300_000);
utime 1_000_000_000, 1_000_000_000, "$source/extra/limit";
take('incr');
$pg->remove_data;
remove_tree("$space/$folder");

# --- back ---

sub restore { my ($name, @options) = @_; return $stanza{$name}->run_ok('restore', "--pg1-path=$to", @options) }

sub empty_place {
	remove_tree($to, $mapped);
	mkdir $to, 0700 or die "mkdir: $!";
}

sub is_backup {
	my ($number, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return same_tree($tree{$number}, tree_of($to, $mapped), $name);
}

my @place = ("--tablespace-map=$space_oid=$mapped");
for my $name (sort keys %stanza) {
	my ($first, @steps) = (0 .. $#labels, reverse(0 .. $#labels - 1), 2, 0, 3, 1);
	empty_place();
	restore($name, @place, "--set=$labels[$first]{$name}", { name => "$name: restore 0" });
	is_backup($first, "$name: as it was");
	my $last = $first;
	for my $step (@steps) {
		restore($name, @place, '--delta', "--set=$labels[$step]{$name}", { name => "$name: $step over $last" });
		is_backup($step, "$name: as it was");
		$last = $step;
	}
	empty_place();
	restore($name, @place, { name => "$name: the newest" });
	is_backup($#labels, "$name: as it was");
}

# --- what is read ---

my $plain = $stanza{plain};
my $newest = $labels[-1]{plain};

# Rows of a manifest that say where a file lies: name => row.
sub rows {
	my ($label) = @_;
	my %row;
	for (split /\n/, slurp($plain->path("repo/backup/demo/$label/backup.manifest"))) {
		$row{$1} = JSON::PP->new->decode($2) if /^((?:pg_data|pg_tblspc)\/[^=]*)=(\{.*"size":.*\})$/;
	}
	return \%row;
}

my $rows = rows($newest);
my $out = restore('plain', @place, '--delta', { name => 'over itself' });
my ($count, @wrong) = (0);
for my $name (sort keys %$rows) {
	my $row = $rows->{$name};
	my $file = $name =~ /^pg_data\/(.*)/ ? "$to/$1" : "$to/$name";
	my $of = $row->{reference} ? "$row->{reference}/" : '';
	my $where = !$row->{bni} ? '' : "bundle $of$row->{bni}/" . ($row->{bno} // 0) . ', ';
	my $kept = $row->{size} ? ' - exists and matches backup' : ' - exists and is zero size';
	$kept = '' if $name =~ m{/global/pg_control$};
	$count++;
	push @wrong, $name if $out !~ /restore file \Q$file$kept ($where\E\d[^,]*, \d+\.\d\d%\)( checksum [0-9a-f]{40})?\n/;
}
cmp_ok($count, '>', 500, 'the newest backup has files');
is("@wrong", '', 'the log tells of each where it lies and that it was kept');
cmp_ok(scalar(grep { $rows->{$_}{bni} } keys %$rows), '>', 400, 'most of them in bundles');
cmp_ok(scalar(grep { ($_->{reference} // '') eq $labels[0]{plain} } values %$rows), '>', 300, 'of the full backup');

# Bundles away: what is kept needs none.
my @bundles = glob $plain->path('repo/backup/demo/2*/bundle');
cmp_ok(scalar @bundles, '>', 2, 'the bundles of several backups');
sub away {
	my ($code) = @_;
	rename $_, "$_.away" or die "rename $_: $!" for @bundles;
	$code->();
	rename "$_.away", $_ or die "rename $_.away: $!" for @bundles;
}
away(sub {
	# but pg_control, which is always written anew
	for my $row (grep { $_->{bni} } $rows->{'pg_data/global/pg_control'}) {
		my $dir = $plain->path('repo/backup/demo', $row->{reference} // $newest, 'bundle');
		mkdir $dir or die "mkdir: $!";
		link "$dir.away/$row->{bni}", "$dir/$row->{bni}" or die "link: $!";
	}
	restore('plain', @place, '--delta', { name => 'over itself, without bundles' });
	unlink "$to/extra/many/1", "$to/extra/many/30";
	$plain->run_fail('restore', "--pg1-path=$to", @place, '--delta', { name => 'a file that is not there needs its bundle',
		code => 55, like => qr{error restoring '\Q$to\E/\S+': unable to open missing file '\S+/bundle/\d+' for read} });
	ok(!-e "$to/global/pg_control", 'and the cluster cannot be started');
	remove_tree(@bundles);
});
restore('plain', @place, '--delta', { name => 'with the bundles again' });
is_backup($#labels, 'as it was');

# --- the plan ---

# What a dry run says of the files.
sub planned {
	my (@options) = @_;
	my ($code, $json, $err) = $plain->run('restore', "--pg1-path=$to", @place, '--dry-run', '--output=json',
		@options);
	is($code, 0, "the plan of a restore @options") or diag($json, $err);
	my $files = $code ? {} : JSON::PP->new->decode($json)->{files};
	return { map { $_ => $files->{$_} } qw(alike bytes count write-max write-min) };
}
my @all = grep { $_ !~ m{^pg_data/tablespace_map$} } keys %$rows;
my $bytes = 0;
$bytes += $rows->{$_}{size} for @all;
my %whole = (bytes => $bytes, count => scalar @all, 'write-max' => $bytes);
is_deeply(planned('--delta'), { %whole, alike => scalar @all, 'write-min' => 0 },
	'all of the chain, wherever it lies; nothing of it needs to be written');
my @lost = map { "extra/many/$_" } 2, 31, 102;
unlink map { "$to/$_" } @lost;
my $missing = 0;
$missing += $rows->{"pg_data/$_"}{size} for @lost;
is_deeply(planned('--delta'), { %whole, alike => @all - @lost, 'write-min' => $missing }, 'some of it does');

# --- damage ---

# One byte in the middle of each bundle of the full backup, or a bundle that is cut short: until all are whole again, the
# restore fails by the name of a file, and what it did is gone on from.
for my $name (sort keys %stanza) {
	my @files = glob $stanza{$name}->path('repo/backup/demo', $labels[0]{$name}, 'bundle/*');
	cmp_ok(scalar @files, '>', 1, "$name: the full backup has several bundles");
	for my $case ([ 'a bit', sub { flip_bit($_[0], int((-s $_[0]) / 2), 2) } ],
		[ 'an end', sub { truncate_file($_[0], (-s $_[0]) - 1) } ]) {
		my ($what, $damage) = @$case;
		my $file = $files[-1];
		run_command([ 'cp', '-p', $file, "$file.whole" ]);
		$damage->($file);
		empty_place();
		$stanza{$name}->run_fail('restore', "--pg1-path=$to", @place, "--set=$labels[0]{$name}", {
			name => "$name: $what of a bundle is lost", like => qr{error restoring '\Q$to\E/\S+': .*\Q$file\E}s });
		ok(!-e "$to/global/pg_control", "$name: the cluster cannot be started");
		my $half = tree_of($to, $mapped);
		my @bad = grep { $half->{$_} =~ /^f/ && exists $tree{0}{$_} && $half->{$_} ne $tree{0}{$_} } keys %$half;
		is("@bad", '', "$name: no file has other bytes and the right time");
		rename "$file.whole", $file or die "rename: $!";
		restore($name, @place, '--delta', '--force', "--set=$labels[0]{$name}", { name => "$name: and then it goes on" });
		is_backup(0, "$name: as it was");
	}
}

# --- a database as zeros, in bundles ---

for my $name (sort keys %stanza) {
	empty_place();
	my $log = restore($name, @place, "--db-exclude=$oid", { name => "$name: one database as zeros",
		like => qr{restore zeroed file \Q$to\E/base/$oid/\d+ \(} });
	my $found = tree_of($to, $mapped);
	my @files = grep { m{^base/$oid/\d} } keys %{ $tree{$#labels} };
	my @wrong = grep { slurp("$to/$_") =~ /[^\0]/ || -s "$to/$_" != (split / /, $tree{$#labels}{$_})[2] } @files;
	cmp_ok(scalar @files, '>', 100, "$name: files of the database");
	is("@wrong", '', "$name: are zeros of the right size");
	delete @$_{ grep { m{^base/$oid/} } keys %$_ } for $found, my $other = { %{ $tree{$#labels} } };
	same_tree($other, $found, "$name: and all else is as it was");
}

done_testing();
