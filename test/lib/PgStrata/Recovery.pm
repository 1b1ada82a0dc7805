# PgStrata::Recovery: what the tests of promises P1 and P2 share: rows whose commits are known, the files of an
# archive, and the two ways in which a recovery may go: it stops and waits for repair, or it is whole.
#
#	write_rows($pg, 100);
#	my $state = row_state($pg);
#	stops_in_recovery($restored, 'segment 5 is missing');
#	recovers_whole($restored, $state, 'segment 5 is back');
#
# Always true: rows are numbered from 1 without gaps, each is a commit of its own, and the text of a row cannot be
# compressed, so that few rows fill many small segments.
package PgStrata::Recovery;
use strict;
use warnings;
use Exporter qw(import);
use File::Copy qw(move);
use PgStrata;
use Test::More;

our @EXPORT = qw(%wal_damage write_rows write_segments row_state stored_wal wal_names copy_tree stops_in_recovery recovers_whole);

# What can be wrong with a stored segment.  Each takes the stored file, and another segment's.
sub replace {
	my ($file, $content) = @_;
	unlink $file or die "unlink $file: $!";
	spew($file, $content);
}
our %wal_damage = (
	'a flipped bit' => sub { flip_bit($_[0], int((-s $_[0]) * (1 + rand) / 3), int(rand(8))) },
	'missing' => sub { unlink $_[0] or die "unlink: $!" },
	'the content of another' => sub { replace($_[0], slurp($_[1])) },
	'cut to half' => sub { truncate_file($_[0], (-s $_[0]) / 2) },
	'empty' => sub { truncate_file($_[0], 0) },
	'one byte short' => sub { truncate_file($_[0], (-s $_[0]) - 1) },
	'followed by more' => sub { replace($_[0], slurp($_[0]) . "\0" x 4096) },
	'a folder' => sub { unlink $_[0]; mkdir $_[0] },
	'not readable' => sub { chmod 0, $_[0] },
	'under the name of another codec' => sub { move($_[0], $_[0] =~ s/\.lz4$|$/.gz/r) },
);

# write_rows(CLUSTER, COUNT): more rows, each of 64 kB and a commit of its own; the number of the last one.
sub write_rows {
	my ($pg, $count) = @_;
	my $text = "(SELECT string_agg(md5(random()::text || $count), '') FROM generate_series(1, 2000))";
	my $insert = "INSERT INTO numbered (text) SELECT $text;\n";
	$pg->psql("CREATE TABLE IF NOT EXISTS numbered (id serial PRIMARY KEY, text text);\n"
		. "ALTER TABLE numbered ALTER text SET STORAGE EXTERNAL;\n" . $insert x $count);
	return $pg->psql('SELECT max(id) FROM numbered');
}

# write_segments(CLUSTER, COUNT): one more row in each of so many segments.
sub write_segments {
	my ($pg, $count) = @_;
	write_rows($pg, 1);
	$pg->psql("INSERT INTO numbered (text) SELECT md5(random()::text);\nSELECT pg_switch_wal();\n" x $count);
}

# Everything about the rows in one line.
sub row_state {
	my ($pg) = @_;
	return $pg->psql("SELECT count(*), min(id), max(id), md5(string_agg(text, ',' ORDER BY id)) FROM numbered");
}

# stored_wal(STANZA, NAME): the paths in the archive of a segment, a partial segment or a history file.
sub stored_wal {
	my ($stanza, $name) = @_;
	my $root = $stanza->path('repo', 'archive', $stanza->name);
	return glob "$root/*/$name" if $name =~ /\.history$/;
	return grep { !/\.tmp$/ } glob "$root/*/" . substr($name, 0, 16) . "/$name-*";
}

# The names of all segments in the archive, in order, each as often as it is stored.
sub wal_names {
	my ($stanza) = @_;
	my @files = glob $stanza->path('repo', 'archive', $stanza->name, '*', '?' x 16, '*');
	return sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}(?:\.(?:gz|lz4|zst|bz2))?$} ? $1 : () } @files;
}

# A copy of a folder with all that belongs to its files.
sub copy_tree {
	my ($from, $to) = @_;
	my ($code, $out, $err) = run_command([ 'cp', '-a', $from, $to ]);
	die "cp $from $to: $err" if $code;
}

# What PostgreSQL logs when it ends a recovery as successful.
my $promoted = qr/selected new timeline ID|archive recovery complete/;

# A test point: the server ends by itself, is not promoted, and would go on recovering at the next start.  Returns
# what it logged.
sub stops_in_recovery {
	my ($pg, $name, %how) = @_;
	my $before = length $pg->log_text;
	my $log = sub { substr($pg->log_text, $before) };
	$pg->start(may_fail => 1);
	my @wrong;
	push @wrong, 'the server did not end' if !wait_until(sub { !$pg->running || $log->() =~ $promoted }, 60);
	push @wrong, 'the server was promoted' if $log->() =~ $promoted;
	push @wrong, 'recovery.signal is gone' if !-e $pg->data . '/recovery.signal';
	push @wrong, "its log does not match $how{like}" if $how{like} && $log->() !~ $how{like};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!@wrong, "$name: stops, and is not promoted") or diag(join "\n", @wrong, $log->());
	return $log->();
}

# A test point: the server recovers, is promoted, and its rows are as they were.  It is left running.  Returns what it
# logged.
sub recovers_whole {
	my ($pg, $state, $name) = @_;
	my $before = length $pg->log_text;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	if (!$pg->start(may_fail => 1)) {
		fail("$name: recovers whole");
		diag("server did not start\n" . $pg->log_tail);
		return '';
	}
	$pg->wait_for_recovery_end;
	is(row_state($pg), $state, "$name: recovers whole");
	return substr($pg->log_text, $before);
}

1;
