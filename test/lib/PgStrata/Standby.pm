# PgStrata::Standby: what tests with two servers share: a standby made from a backup, replay that is held back, and a
# backup that stands still at a known place.
#
#	my $standby = standby_from($stanza, $pg, 'standby', '--tablespace-map-all=/elsewhere');
#	caught_up($pg, $standby);
#	my $process = start_backup($stanza, '--type=full');
#	freeze_copy($stanza, $process, 'large.bin');	# its workers are stopped in the middle of that file
#	my ($code, $text) = thaw($process);
#
# Always true: a standby streams from the primary and fetches from the stanza's archive; its server is stopped with the
# test.
package PgStrata::Standby;
use strict;
use warnings;
use Exporter qw(import);
use PgStrata;
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(held_archiving standby_from caught_up replay start_backup output_of until_it_logs freeze_copy thaw
	manifest_of from_right_server);

# held_archiving(PRIMARY, STANZA): archiving waits while the file is there whose name is returned; a backup then stands
# between start and list.
sub held_archiving {
	my ($pg, $stanza) = @_;
	my $hold = work_dir() . '/hold';
	(my $command = $stanza->archive_command) =~ s/(['\\])/$1$1/g;
	$pg->conf_add('archive_mode = on', "archive_command = 'while test -e $hold; do sleep 0.02; done; $command'");
	return $hold;
}

# standby_from(STANZA, PRIMARY, NAME, OPTION...): the latest backup restored as a standby, running.
sub standby_from {
	my ($stanza, $pg, $name, @options) = @_;
	my $standby = PgStrata::Cluster->new(name => $name, init => 0, version => $pg->version);
	my $from = sprintf 'host=%s port=%d user=postgres', $pg->socket_dir, $pg->port;
	$stanza->run_ok('restore', '--type=standby', '--pg1-path=' . $standby->data, "--recovery-option=primary_conninfo=$from",
		@options, { name => "restored as $name" });
	$standby->start;
	return $standby;
}

# Until the standby has replayed all that the primary has written so far.
sub caught_up {
	my ($pg, $standby) = @_;
	my $lsn = $pg->psql('SELECT pg_current_wal_flush_lsn()');
	return $standby->wait_sql("SELECT pg_last_wal_replay_lsn() >= '$lsn'", 't');
}

# replay(STANDBY, 'pause'|'resume')
sub replay {
	my ($standby, $what) = @_;
	$standby->psql("SELECT pg_wal_replay_$what()");
	$standby->wait_sql('SELECT pg_get_wal_replay_pause_state()', $what eq 'pause' ? 'paused' : 'not paused')
		or die "replay did not $what\n";
}

sub start_backup {
	my ($stanza, @options) = @_;
	return spawn_command([ $stanza->command('backup', @options) ]);
}

# What a process has written so far.
sub output_of { return slurp("$_[0]{files}.out") }

sub until_it_logs {
	my ($process, $what) = @_;
	return wait_until(sub { output_of($process) =~ $what }, 60) || diag(output_of($process));
}

sub workers_of {
	my ($process) = @_;
	my @found;
	for my $stat (glob '/proc/[0-9]*/stat') {
		open(my $in, '<', $stat) or next;
		my ($pid, $name, $parent) = (readline($in) // '') =~ /^(\d+) \((.*)\) \S (\d+) / or next;
		push @found, $pid if $parent == $process->{pid} && $name ne 'ssh'; # that one is the leader's way to a server
	}
	return @found;
}

# freeze_copy(STANZA, PROCESS, FILE): when the file is being stored, stop the workers.  True if that worked.
sub freeze_copy {
	my ($stanza, $process, $file) = @_;
	my $begun = sub { return grep { -s } glob $stanza->path('repo/backup', $stanza->name, '2*/pg_data', "$file*") };
	my $late = time + 60;
	until ($begun->()) {
		return 0 if time > $late;
		sleep 0.005;
	}
	kill 'STOP', workers_of($process);
	return 1;
}

# Let them go on, and wait for the end: exit code and output.
sub thaw {
	my ($process, $seconds) = @_;
	kill 'CONT', workers_of($process);
	return reap($process, $seconds // 120);
}

sub manifest_of {
	my ($stanza, $label) = @_;
	return slurp($stanza->path('repo/backup', $stanza->name, $label, 'backup.manifest'));
}

# A test point: each file of a backup's log was read from the server that it is to be read from, on whatever host.  Returns
# names and how often each was read from "standby" and "primary".
sub from_right_server {
	my ($out, $pg, $standby, $name) = @_;
	my ($data, $copy) = map { $_->data } $pg, $standby;
	my $theirs = qr{^(?:base|global|pg_xact|pg_multixact|pg_tblspc)/};
	my %from;
	$from{$2}{ $1 eq $copy ? 'standby' : 'primary' }++
		while $out =~ m{(?:backup|match) file (?:from prior backup )?(?:[\d.]+:)?(\Q$data\E|\Q$copy\E)/(\S+) \(}g;
	my @wrong = grep { ($_ =~ $theirs && $_ ne 'global/pg_control' ? 'standby' : 'primary') ne join '', keys %{ $from{$_} } }
		sort keys %from;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!@wrong && keys %from > 1, "$name: each file from the right server") or diag("@wrong");
	return \%from;
}

1;
