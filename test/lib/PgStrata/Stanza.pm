# PgStrata::Stanza: a configuration file and the program run with it.
#
#	my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst' } });
#	$stanza->run_ok('stanza-create');
#	my $out = $stanza->run_ok('backup', '--type=full', { like => qr/new backup label/ });
#	$stanza->run_fail('restore', '--set=nonsense', { code => 75, like => qr/is not valid/ });
#	my $same_repository = $stanza->using(pgbackrest());
#
# Always true: repository, logs, locks and spool are below work_dir; the console shows the level
# detail without times.  The file is called pgbackrest.conf, so that an archive_command of ours
# contains the word that the original looks for, and one file can serve both programs.
package PgStrata::Stanza;
use strict;
use warnings;
use JSON::PP ();
use PgStrata;
use Test::More;

# Exit code of a sanitizer's report, set in run-tap.pl; never a right answer.
use constant SANITIZER => 117;

sub new {
	my ($class, %how) = @_;
	my $id = $how{id} // $how{name} // 'demo';
	my $dir = work_dir() . "/c-$id";
	my $self = bless {
		name => $how{name} // 'demo',
		program => $how{program} // program(),
		dir => $dir,
		cluster => $how{cluster},
		sections => {},
	}, $class;
	mkdir $_ or die "mkdir $_: $!" for $dir, map { "$dir/$_" } qw(repo log lock spool);
	$self->set(global => {
		'repo1-path' => "$dir/repo",
		'log-path' => "$dir/log",
		'lock-path' => "$dir/lock",
		'spool-path' => "$dir/spool",
		'log-level-console' => 'detail',
		'log-level-file' => 'detail',
		'log-timestamp' => 'n',
		'start-fast' => 'y',
	});
	$self->set_cluster($how{cluster}) if $how{cluster};
	$self->set($_ => $how{options}{$_}) for keys %{$how{options} // {}};
	return $self;
}

# The same configuration, run by another program.
sub using {
	my ($self, $program) = @_;
	return bless { %$self, program => $program }, ref $self;
}

sub name { return $_[0]{name} }
sub config_file { return "$_[0]{dir}/pgbackrest.conf" }

# A path below this stanza's folder; the repository is path('repo').
sub path {
	my ($self, @below) = @_;
	return join '/', $self->{dir}, @below;
}

# set(SECTION => { option => value }): a list for an option that may be repeated, undef to take it
# out.  The file is written again.
sub set {
	my ($self, $section, $options) = @_;
	my $entries = $self->{sections}{$section} //= {};
	for my $option (keys %$options) {
		defined $options->{$option} ? ($entries->{$option} = $options->{$option}) : delete $entries->{$option};
	}
	$self->write_config;
}

# Point pg<KEY> at a cluster.
sub set_cluster {
	my ($self, $cluster, $key) = @_;
	$key //= 1;
	$self->set($self->{name} => {
		"pg$key-path" => $cluster->data,
		"pg$key-port" => $cluster->port,
		"pg$key-socket-path" => $cluster->socket_dir,
		"pg$key-user" => 'postgres',
	});
}

sub write_config {
	my ($self) = @_;
	my $text = '';
	for my $section (sort keys %{$self->{sections}}) {
		my $entries = $self->{sections}{$section};
		$text .= "[$section]\n";
		for my $option (sort keys %$entries) {
			my $value = $entries->{$option};
			$text .= "$option=$_\n" for ref $value ? @$value : $value;
		}
		$text .= "\n";
	}
	spew($self->config_file, $text);
}

# The words of a command line for this stanza.
sub command {
	my ($self, @arguments) = @_;
	return ($self->{program}, '--config=' . $self->config_file, "--stanza=$self->{name}", @arguments);
}

# For archive_command: a % of our own doubled, %p left to PostgreSQL.
sub archive_command {
	my ($self, @options) = @_;
	(my $command = shell_words($self->command(@options))) =~ s/%/%%/g;
	return "$command archive-push %p";
}

# run(ARGUMENT..., { env =>, dir =>, stdin =>, timeout => }): (code, stdout, stderr).
sub run {
	my ($self, @arguments) = @_;
	my $how = ref $arguments[-1] ? pop @arguments : {};
	return run_command([ $self->command(@arguments) ], %$how);
}

# A test point: the command succeeds, and its output matches `like` and not `unlike`.  Returns
# stdout.
sub run_ok {
	my ($self, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->judge(0, @arguments);
}

# A test point: the command fails with `code` (without: with any code of its own), and its output
# matches.
sub run_fail {
	my ($self, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->judge(1, @arguments);
}

sub judge {
	my ($self, $fails, @arguments) = @_;
	my $how = ref $arguments[-1] ? pop @arguments : {};
	my ($code, $out, $err) = $self->run(@arguments, $how);
	my $both = $out . $err;
	my @wrong;
	if ($code == SANITIZER) {
		push @wrong, 'a sanitizer ended it';
	} elsif (!$fails) {
		push @wrong, "exit $code" if $code != 0;
	} elsif (defined $how->{code}) {
		push @wrong, "exit $code instead of $how->{code}" if $code != $how->{code};
	} elsif ($code == 0 || $code > 125) {
		push @wrong, "exit $code instead of a failure";
	}
	push @wrong, "output does not match $how->{like}" if $how->{like} && $both !~ $how->{like};
	push @wrong, "output matches $how->{unlike}" if $how->{unlike} && $both =~ $how->{unlike};
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	ok(!@wrong, $how->{name} // join ' ', ($fails ? 'fails:' : ()), @arguments)
		or diag(join("\n", @wrong, shell_words($self->command(@arguments)), $both));
	return $out;
}

# What `info --output=json` says, decoded: a list of stanzas.
sub info {
	my ($self, @options) = @_;
	my ($code, $out, $err) = $self->run('info', '--output=json', @options);
	die "info: exit $code\n$out$err" if $code;
	return JSON::PP->new->utf8->decode($out);
}

# The labels of the backups that info lists, oldest first.
sub labels {
	my ($self) = @_;
	my ($stanza) = grep { $_->{name} eq $self->{name} } @{$self->info};
	return map { $_->{label} } @{$stanza->{backup}};
}

1;
