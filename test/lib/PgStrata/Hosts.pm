# PgStrata::Hosts: a host with a repository and a host with a cluster, which talk through a real sshd.
#
#	need_sshd();
#	my $hosts = PgStrata::Hosts->new(cluster => $pg, repo => { global => {...} }, pg => { global => {...} });
#	$hosts->repo->run_ok('stanza-create');			on the host with the repository
#	$hosts->pg->run_ok('archive-push', $file);		on the host with the cluster
#	my $hosts = PgStrata::Hosts->new(..., local_pg => 1);	the repository's host reaches the cluster without ssh
#	my $hosts = PgStrata::Hosts->new(..., forced => 0);	keys without forced commands
#	my $hosts = PgStrata::Hosts->new(..., roles => { repo => 'archive' });	what the key for that host may do
#	$hosts->through(pg => record => $dir);			what that side sends and gets goes through a PgStrata::Relay
#	$hosts->direct('pg');
#	$hosts->quiet('after that');				a test point: no process is left on either side
#
# Always true: each host is a PgStrata::Stanza with a configuration, logs, locks and spool of its own; each has a key for
# the other one, which unless told otherwise starts nothing but `pgstrata serve` of that host for that stanza.
package PgStrata::Hosts;
use strict;
use warnings;
use Exporter qw(import);
use PgStrata;
use PgStrata::Relay;
use PgStrata::Sshd;
use PgStrata::Stanza;
use Test::More;

our @EXPORT = qw(need_sshd);

use constant HOST => '127.0.0.1';

my $made = 0;

sub new {
	my ($class, %how) = @_;
	my $id = $how{id} // 'hosts' . ++$made;
	my @conf = map { defined $ENV{$_} ? qq(SetEnv "$_=$ENV{$_}") : () } qw(ASAN_OPTIONS);
	my $self = bless { how => \%how, id => $id, name => $how{name} // 'demo',
		sshd => PgStrata::Sshd->new(conf => [ @conf, @{$how{sshd_conf} // []} ]) }, $class;
	$self->{repo} = PgStrata::Stanza->new(id => "$id-repo", name => $self->{name}, options => $how{repo} // {});
	$self->{pg} = PgStrata::Stanza->new(id => "$id-pg", name => $self->{name}, cluster => $how{cluster},
		options => $how{pg} // {});
	$self->write_ssh($_) for qw(repo pg);
	$self->{pg}->set(global => { %{$self->address('repo', 1)}, 'cmd-ssh' => $self->ssh('pg') });
	$self->{repo}->set(global => { 'cmd-ssh' => $self->ssh('repo') });
	$self->reach_cluster;
	$self->let_in;
	return $self;
}

sub repo { return $_[0]{repo} }
sub pg { return $_[0]{pg} }
sub sshd { return $_[0]{sshd} }
sub other { return $_[1] eq 'pg' ? 'repo' : 'pg' }

# How a host is reached by the other one, as options of that one's configuration.
sub address {
	my ($self, $host, $key) = @_;
	my $group = $host eq 'repo' ? "repo$key" : "pg$key";
	my %options = (host => HOST, 'host-user' => scalar getpwuid($>), 'host-port' => $self->{sshd}->port,
		'host-cmd' => program(), 'host-config' => $self->{$host}->config_file);
	my $options = { map { ("$group-$_" => $options{$_}) } keys %options };
	$options->{"$group-path"} = undef if $host eq 'repo';
	return $options;
}

sub reach_cluster {
	my ($self) = @_;
	my $cluster = $self->{how}{cluster} // return;
	return $self->{repo}->set_cluster($cluster) if $self->{how}{local_pg};
	$self->{repo}->set($self->{name} => { %{$self->address('pg', 1)}, 'pg1-path' => $cluster->data });
}

# --- who may do what ---

# The private key with which one side reaches the other.
sub key {
	my ($self, $from) = @_;
	return $self->{key}{$from} //= $self->{sshd}->key("$self->{id}-$from");
}

sub roles {
	my ($self, $host) = @_;
	return $self->{how}{roles}{$host} // ($host eq 'repo' ? 'archive,restore' : 'backup');
}

# What authorized_keys of a host says about the key of the other one.
sub authorized_line {
	my ($self, $host) = @_;
	my $public = $self->key($self->other($host)) . '.pub';
	return slurp($public) if !($self->{how}{forced} // 1);
	my ($code, $out, $err) = $self->{$host}->run('--role=' . $self->roles($host), 'authorize', $public);
	return $code == 0 ? $out : die "authorize: exit $code\n$out$err";
}

sub let_in {
	my ($self) = @_;
	$self->{sshd}->authorize_lines(map { $self->authorized_line($_) } qw(repo pg));
}

# --- ssh ---

# The client that a side uses: its key, and whom it knows, without the user's own configuration.
sub ssh {
	my ($self, $from) = @_;
	return $self->{sshd}->dir . "/ssh-of-$from";
}

sub write_ssh {
	my ($self, $from) = @_;
	my $known = $self->{sshd}->dir . '/known';
	spew($known, $self->{sshd}->known_host);
	my @words = ('ssh', '-F', '/dev/null', '-i', $self->key($from), '-o', 'IdentitiesOnly=yes', '-o', "UserKnownHostsFile=$known",
		'-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'StrictHostKeyChecking=yes');
	spew($self->ssh($from), "#!/bin/sh\nexec " . shell_words(@words) . " \"\$@\"\n");
	chmod 0755, $self->ssh($from);
}

sub use_ssh {
	my ($self, $from, $program) = @_;
	$self->{$from}->set(global => { 'cmd-ssh' => $program });
}

sub through {
	my ($self, $from, %plan) = @_;
	mkdir $plan{record} if defined $plan{record};
	$self->use_ssh($from, write_relay($self->{sshd}->dir . "/relay-of-$from", [ $self->ssh($from) ], %plan));
}

sub direct {
	my ($self, $from) = @_;
	$self->use_ssh($from, $self->ssh($from));
}

# --- who is there ---

# Processes whose command line names a configuration of these hosts: [ pid, command line ].
sub processes {
	my ($self, $like) = @_;
	my $configs = join '|', map { quotemeta $self->{$_}->config_file } qw(repo pg);
	my @found;
	for my $file (glob '/proc/[0-9]*/cmdline') {
		open(my $in, '<', $file) or next;
		local $/;
		(my $line = <$in> // '') =~ tr/\0/ /;
		my ($pid) = $file =~ /(\d+)/;
		push @found, [ $pid, $line ] if $line =~ /$configs/ && $line =~ ($like // qr//);
	}
	return @found;
}

# The programs that serve, not the shells and clients around them.
sub servers { return $_[0]->processes(qr/^\Q@{[ program() ]}\E .*\bserve\b/) }

sub quiet {
	my ($self, $name, $seconds) = @_;
	my @left;
	my $so = wait_until(sub { !(@left = ($self->processes, map { [ $_, 'a process of sshd' ] } $self->{sshd}->sessions)) },
		$seconds // 20);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($so, "no process is left $name") || do { diag join "\n", map { "@$_" } @left; 0 };
}

1;
