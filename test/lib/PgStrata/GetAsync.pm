# PgStrata::GetAsync: archive-get as PostgreSQL calls it in a recovery, without a server: an archive of some segments, a
# restored data directory that is never started, and the queue in the spool.
#
#	my $line = PgStrata::GetAsync->new(segments => 12, options => { 'process-max' => 2 });
#	my ($code, $bytes, $said) = $line->get($line->{segments}[3]);
#	$line->wait_idle;
#
# Always true: {bytes}{NAME} is what was pushed; a get runs in the data directory, which says that a recovery goes on.
package PgStrata::GetAsync;
use strict;
use warnings;
use Fcntl qw(:flock);
use PgStrata;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(time sleep);

# new(segments => COUNT, promote => 1, options => {}, repos => {}): promote: as many segments again on the next timeline;
# options: of archive-get; repos: of all commands.
sub new {
	my ($class, %how) = @_;
	my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['autovacuum = off']);
	my $stanza = PgStrata::Stanza->new(cluster => $pg,
		options => { global => { 'compress-type' => 'lz4', %{$how{repos} // {}} } });
	$pg->archive_to($stanza);
	$pg->start;
	$pg->drop_templates;
	$stanza->run_ok('stanza-create');
	$stanza->run_ok('backup', '--type=full', '--repo=1');
	write_segments($pg, $how{segments});
	if ($how{promote}) {
		$pg->stop;
		spew($pg->data . '/standby.signal');
		$pg->start;
		$pg->psql('SELECT pg_promote()');
		write_segments($pg, $how{segments});
	}
	ok($pg->wait_archived($pg->switch_wal), 'all rows are archived');
	$pg->stop;

	my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
	mkdir $restored->data, 0700 or die "mkdir: $!";
	$stanza->set_cluster($restored);
	$stanza->run_ok('restore', '--archive-mode=off');
	my $self = bless { stanza => $stanza, data => $restored->data, dest => work_dir() . '/got', bytes => {} }, $class;
	$self->{segments} = [ wal_names($stanza) ];
	for my $segment (@{$self->{segments}}) {
		my ($code, $bytes, $said) = $self->get($segment);
		die "$segment: exit $code\n$said" if $code;
		$self->{bytes}{$segment} = $bytes;
	}
	$stanza->set(global => { 'archive-async' => 'y', 'archive-timeout' => '100ms', %{$how{options} // {}} });
	return $self;
}

# The queue's folder, or a path below it.
sub queue {
	my ($self, @below) = @_;
	return $self->{stanza}->path('spool/archive/demo/in', @below);
}

# The words of a get.
sub words {
	my ($self, $segment, $dest) = @_;
	return ('archive-get', $segment, $dest // $self->{dest});
}

# get(SEGMENT, options => [], env => {}): (exit code, bytes or undef, output).
sub get {
	my ($self, $segment, %how) = @_;
	unlink $self->{dest};
	my ($code, $out, $err) = $self->{stanza}->run(@{delete $how{options} // []}, $self->words($segment),
		{ dir => $self->{data}, timeout => 60, %how });
	return ($code, -e $self->{dest} ? slurp($self->{dest}) : undef, "$out$err");
}

sub names {
	my ($folder) = @_;
	opendir(my $dir, $folder) or return ();
	return sort grep { !/^\.\.?$/ } readdir $dir;
}

# What is in the queue, by name.
sub queued { return names($_[0]->queue) }

# Until no process works in the background; one that was killed leaves its lock file.
sub wait_idle {
	my ($self) = @_;
	my $folder = $self->{stanza}->path('lock');
	my $late = time + 60;
	while (grep { is_held("$folder/$_") } grep { /^demo-archive-/ } names($folder)) {
		die "the background does not end\n" if time > $late;
		sleep 0.005;
	}
}

sub is_held {
	my ($name) = @_;
	open(my $file, '<', $name) or return 0;
	return !flock($file, LOCK_SH | LOCK_NB);
}

1;
