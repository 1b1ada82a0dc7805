# PgStrata::Sshd: a real sshd on 127.0.0.1, run by the ordinary user, that lets in whoever has the key it made.
#
#	need_sshd();
#	my $sshd = PgStrata::Sshd->new(subsystem => '/usr/lib/openssh/sftp-server -P posix-rename', conf => [...], limit => 'ulimit -f 100');
#	my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => $sshd->repo_options(1, work_dir() . '/r') });
#	$sshd->kill_sessions;
#	$sshd->stop; $sshd->start;
#
# Always true: it listens on a port that was free when it started, host keys and authorized keys are its own, and it
# ends with the test.
package PgStrata::Sshd;
use strict;
use warnings;
use Exporter qw(import);
use IO::Socket::INET;
use PgStrata;
use Test::More;

our @EXPORT = qw(need_sshd);

my $made = 0;

sub need_sshd {
	for my $program (qw(/usr/sbin/sshd /usr/bin/ssh-keygen /usr/lib/openssh/sftp-server)) {
		plan(skip_all => "$program is missing: install openssh-server") if !-x $program;
	}
}

sub must {
	my (@command) = @_;
	my ($code, $out, $err) = run_command(\@command);
	die "@command: exit $code\n$out$err" if $code;
}

sub free_port {
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "no port: $!";
	return $socket->sockport;
}

# key(NAME, passphrase =>, type =>, format =>): a new key pair; the path of the private one.
sub key {
	my ($self, $name, %how) = @_;
	my $file = "$self->{dir}/$name";
	must('ssh-keygen', '-q', '-t', $how{type} // 'ed25519', '-N', $how{passphrase} // '', '-f', $file);
	return $file;
}

# Let the owner of a key in.
sub authorize {
	my ($self, @keys) = @_;
	$self->authorize_lines(map { slurp("$_.pub") } @keys);
}

# The same, in the words of authorized_keys.
sub authorize_lines {
	my ($self, @lines) = @_;
	spew("$self->{dir}/authorized", @lines);
}

sub new {
	my ($class, %how) = @_;
	my $dir = work_dir() . '/ssh' . ++$made;
	mkdir $dir, 0700 or die "mkdir $dir: $!";
	my $self = bless { dir => $dir, how => \%how }, $class;
	$self->{host_key} = $self->key('host');
	$self->{key} = $self->key('user');
	$self->authorize($self->{key});
	PgStrata::at_end(sub { $self->stop });
	$self->start;
	return $self;
}

sub dir { return $_[0]{dir} }
sub port { return $_[0]{port} }
sub log_text { return slurp("$_[0]{dir}/log") }

# From OpenSSH 9.8 on, whoever was refused is not listened to for a while: tests that are refused on purpose must be.
sub lenient {
	my ($self) = @_;
	my @option = ('-o', 'PerSourcePenalties=no');
	my ($code) = run_command([ '/usr/sbin/sshd', '-t', '-f', "$self->{dir}/config", @option ]);
	return $code == 0 ? @option : ();
}

sub start {
	my ($self) = @_;
	my ($dir, $how) = @$self{qw(dir how)};
	for my $try (1 .. 5) {
		$self->{port} = free_port() if !$self->{port} || $try > 1;
		my $subsystem = $how->{subsystem} // '/usr/lib/openssh/sftp-server';
		if ($how->{limit}) {
			spew("$dir/limited", "#!/bin/sh\n$how->{limit}\nexec $subsystem\n");
			chmod 0755, "$dir/limited";
			$subsystem = "$dir/limited";
		}
		spew("$dir/config", join "\n", "Port $self->{port}", 'ListenAddress 127.0.0.1', qq(HostKey "$self->{host_key}"),
			qq(AuthorizedKeysFile "$dir/authorized"), 'StrictModes no', 'UsePAM no', 'PasswordAuthentication no',
			qq(PidFile "$dir/pid"), 'LogLevel VERBOSE', 'MaxStartups 100', "Subsystem sftp $subsystem", @{$how->{conf} // []}, '');
		unlink "$dir/pid";
		my ($code, $out, $err) = run_command([ '/usr/sbin/sshd', '-f', "$dir/config", '-E', "$dir/log", $self->lenient ]);
		return if $code == 0 && wait_until(sub { -s "$dir/pid" && $self->answers }, 20);
		last if $code == 0;
	}
	die 'sshd did not start: ' . (-e "$dir/log" ? $self->log_text : 'no log');
}

sub answers {
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5) or return 0;
	return 1;
}

# Processes below one, the deepest first.
sub below {
	my ($pid) = @_;
	my %children;
	for my $stat (glob '/proc/[0-9]*/stat') {
		open(my $in, '<', $stat) or next;
		my $line = <$in> // next;
		push @{$children{$2}}, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) /;
	}
	my @found;
	my @look = @{$children{$pid} // []};
	while (defined(my $one = shift @look)) {
		unshift @found, $one;
		push @look, @{$children{$one} // []};
	}
	return @found;
}

sub pid {
	my ($self) = @_;
	return -s "$self->{dir}/pid" ? slurp("$self->{dir}/pid") + 0 : 0;
}

# How many sessions there are is how many SFTP servers run.
sub sessions {
	my ($self) = @_;
	return $self->pid ? below($self->pid) : ();
}

sub kill_sessions {
	my ($self) = @_;
	kill 'KILL', $self->sessions;
}

sub stop {
	my ($self) = @_;
	my $pid = $self->pid or return;
	my @sessions = $self->sessions;
	kill 'TERM', $pid;
	wait_until(sub { !kill 0, $pid }, 10);
	kill 'KILL', @sessions;
	unlink "$self->{dir}/pid";
}

# The line of its host key for a known hosts file.
sub known_host {
	my ($self, $key) = @_;
	my ($type, $text) = split / /, slurp(($key // $self->{host_key}) . '.pub');
	return "[127.0.0.1]:$self->{port} $type $text\n";
}

# Options of a repository there.
sub repo_options {
	my ($self, $repo, $path, %more) = @_;
	my $known = "$self->{dir}/known_hosts";
	spew($known, $self->known_host);
	my %options = (type => 'sftp', path => $path, 'sftp-host' => '127.0.0.1', 'sftp-host-port' => $self->{port},
		'sftp-host-user' => scalar getpwuid($>), 'sftp-private-key-file' => $self->{key},
		'sftp-host-key-hash-type' => 'sha256', 'sftp-known-host' => $known, %more);
	return { map { ("repo$repo-$_" => $options{$_}) } keys %options };
}

1;
