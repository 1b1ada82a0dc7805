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
use PgStrata;
use Test::More;

our @EXPORT = qw(write_rows row_state stored_wal wal_names copy_tree stops_in_recovery recovers_whole);

# write_rows(CLUSTER, COUNT): more rows, each of 64 kB and a commit of its own; the number of the last one.
sub write_rows {
	my ($pg, $count) = @_;
	my $text = "(SELECT string_agg(md5(random()::text || $count), '') FROM generate_series(1, 2000))";
	my $insert = "INSERT INTO numbered (text) SELECT $text;\n";
	$pg->psql("CREATE TABLE IF NOT EXISTS numbered (id serial PRIMARY KEY, text text);\n"
		. "ALTER TABLE numbered ALTER text SET STORAGE EXTERNAL;\n" . $insert x $count);
	return $pg->psql('SELECT max(id) FROM numbered');
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
