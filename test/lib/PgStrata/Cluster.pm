# PgStrata::Cluster: a throwaway PostgreSQL server on a Unix socket.
#
#	my $pg = PgStrata::Cluster->new(name => 'main', version => 15, wal_segsize => 1, checksums => 1,
#		conf => ['autovacuum = off']);
#	$pg->archive_to($stanza);
#	$pg->start;
#	my $count = $pg->psql('SELECT count(*) FROM t');
#
# Always true: the server listens on no network port; its user is postgres, whoever runs the test;
# the log of every start is kept in one file, which a failed test shows; no server outlives the
# test.  init => 0 makes a place for a restored cluster: port and socket are given at start, so its
# restored configuration does not matter.
package PgStrata::Cluster;
use strict;
use warnings;
use File::Path qw(remove_tree);
use PgStrata;
use Test::More;

my $next_port = 5432;

sub new {
	my ($class, %how) = @_;
	my @versions = pg_versions();
	my $name = $how{name} // 'main';
	my $self = bless {
		name => $name,
		version => $how{version} // $versions[-1] // die("no PostgreSQL server in /usr/lib/postgresql\n"),
		data => $how{data} // work_dir() . "/$name",
		socket_dir => work_dir() . '/s',
		log => work_dir() . "/$name.log",
		port => $next_port++,
	}, $class;
	mkdir $self->{socket_dir};
	$self->init(%how) if $how{init} // 1;
	PgStrata::at_end(sub { $self->at_end });
	return $self;
}

sub data { return $_[0]{data} }
sub port { return $_[0]{port} }
sub socket_dir { return $_[0]{socket_dir} }
sub version { return $_[0]{version} }
sub name { return $_[0]{name} }
sub log_file { return $_[0]{log} }

# The folder of this version in a tablespace: "PG_15_202209061".
sub version_folder {
	my ($self) = @_;
	return sprintf 'PG_%s_%d', $self->{version}, unpack 'x12 V', slurp("$self->{data}/global/pg_control");
}

# The path of a PostgreSQL program of this server's version.
sub bin {
	my ($self, $program) = @_;
	return "/usr/lib/postgresql/$self->{version}/bin/$program";
}

# Run a PostgreSQL program; its failure ends the test.
sub must {
	my ($self, $program, @arguments) = @_;
	my ($code, $out, $err) = run_command([ $self->bin($program), @arguments ]);
	return $out if $code == 0;
	die "$program @arguments: exit $code\n$out$err" . $self->log_tail;
}

sub init {
	my ($self, %how) = @_;
	my @options = ('-D', $self->{data}, qw(-U postgres -A trust -N -E UTF8 --locale=C));
	push @options, "--wal-segsize=$how{wal_segsize}" if $how{wal_segsize};
	push @options, '-k' if $how{checksums};
	push @options, '--no-data-checksums' if defined $how{checksums} && !$how{checksums} && $self->{version} >= 18;
	$self->must('initdb', @options, @{$how{initdb} // []});
	$self->conf_add("listen_addresses = ''", "unix_socket_directories = '$self->{socket_dir}'",
		"port = $self->{port}", 'fsync = off', 'shared_buffers = 16MB', 'max_connections = 20',
		"log_line_prefix = '%m [%p] '", 'log_statement = none', @{$how{conf} // []});
}

# conf_add(LINE...): append to postgresql.conf; the last of several settings of a name counts.
sub conf_add {
	my ($self, @lines) = @_;
	open(my $conf, '>>', "$self->{data}/postgresql.conf") or die "postgresql.conf: $!";
	print $conf map { "$_\n" } @lines;
	close $conf;
}

# archive_to(STANZA, OPTION...): archive WAL through the stanza's program.
sub archive_to {
	my ($self, $stanza, @options) = @_;
	(my $command = $stanza->archive_command(@options)) =~ s/(['\\])/$1$1/g;
	$self->conf_add('archive_mode = on', "archive_command = '$command'");
}

# start(may_fail => 1, seconds =>): true if the server runs and has accepted a connection.
sub start {
	my ($self, %how) = @_;
	my ($code, $out, $err) = run_command([ $self->bin('pg_ctl'), '-D', $self->{data}, '-l', $self->{log}, '-w', '-s',
		'-t', $how{seconds} // 60, '-o', "-p $self->{port} -k $self->{socket_dir} -c listen_addresses=''", 'start' ]);
	die "server $self->{name} did not start\n$out$err" . $self->log_tail if $code && !$how{may_fail};
	return $code == 0;
}

sub running {
	my ($self) = @_;
	my ($code) = run_command([ $self->bin('pg_ctl'), '-D', $self->{data}, 'status' ]);
	return $code == 0;
}

# stop(MODE): fast (default), smart, immediate.
sub stop {
	my ($self, $mode) = @_;
	$self->must('pg_ctl', '-D', $self->{data}, '-w', '-s', '-m', $mode // 'fast', 'stop');
}

sub restart {
	my ($self, $mode) = @_;
	$self->stop($mode);
	$self->start;
}

sub reload {
	my ($self) = @_;
	$self->must('pg_ctl', '-D', $self->{data}, '-s', 'reload');
}

# psql(SQL, db =>, may_fail => 1): the result as text, columns split by |; undef for a failure that
# may be.
sub psql {
	my ($self, $sql, %how) = @_;
	my ($code, $out, $err) = run_command([ $self->bin('psql'), qw(-XAtq -v ON_ERROR_STOP=1 -U postgres),
		'-h', $self->{socket_dir}, '-p', $self->{port}, '-d', $how{db} // 'postgres', '-f', '-' ], stdin => $sql);
	return undef if $code && $how{may_fail};
	die "psql: $sql\nexit $code\n$out$err" . $self->log_tail if $code;
	chomp $out;
	return $out;
}

# wait_sql(SQL, EXPECTED, SECONDS): true when the result becomes equal to EXPECTED in that time
# (default 60).
sub wait_sql {
	my ($self, $sql, $expected, $seconds) = @_;
	return wait_until(sub { ($self->psql($sql, may_fail => 1) // '') eq $expected }, $seconds);
}

# Two thirds of a new cluster's files are its template databases: without them backups and restores are faster, and
# no database can be made.
sub drop_templates {
	my ($self) = @_;
	$self->psql($_) for 'UPDATE pg_database SET datistemplate = false', map { "DROP DATABASE template$_" } 0, 1;
}

sub wait_for_recovery_end {
	my ($self, $seconds) = @_;
	$self->wait_sql('SELECT pg_is_in_recovery()', 'f', $seconds)
		or die "server $self->{name} did not leave recovery\n" . $self->log_tail;
}

# Switch WAL and return the name of the segment that is now complete.
sub switch_wal {
	my ($self) = @_;
	return $self->psql('SELECT pg_walfile_name(pg_switch_wal())');
}

# wait_archived(SEGMENT): until nothing up to this switched segment waits for the archiver.  What it archived last says
# nothing: the history file of a backup bears the name of an earlier segment and may come later.
sub wait_archived {
	my ($self, $segment, $seconds) = @_;
	return $self->wait_sql("SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS name"
		. " WHERE name LIKE '%.ready' AND left(name, 24) <= '$segment'", '0', $seconds);
}

# Lose the data directory; the folder itself too.
sub remove_data {
	my ($self) = @_;
	remove_tree($self->{data});
}

sub log_text {
	my ($self) = @_;
	return -e $self->{log} ? slurp($self->{log}) : '';
}

sub log_tail {
	my ($self) = @_;
	my @lines = split /^/, $self->log_text;
	splice @lines, 0, @lines - 40 if @lines > 40;
	return join '', "server log $self->{log}:\n", @lines;
}

sub at_end {
	my ($self) = @_;
	diag($self->log_tail) if -e $self->{log} && !Test::More->builder->is_passing;
	return unless -e "$self->{data}/postmaster.pid";
	run_command([ $self->bin('pg_ctl'), '-D', $self->{data}, '-w', '-s', '-m', 'immediate', 'stop' ]);
}

1;
