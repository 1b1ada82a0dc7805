# PgStrata: what every scenario test needs: a place for its files, running programs, looking at
# trees of files, damaging them.  PgStrata::Cluster is a throwaway PostgreSQL server,
# PgStrata::Stanza a configuration and the program run with it.
#
# Always true: everything a test makes is below work_dir, whose path is short (socket paths end at
# 107 bytes); at the end of the test, also after die or a signal, all servers are stopped and the
# folder is removed unless KEEP is set.  Only core modules are used.  The program is $PGSTRATA, else
# $builddir/pgstrata.
package PgStrata;
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA;
use Exporter qw(import);
use Fcntl qw(:mode);
use File::Basename qw(dirname);
use File::Find ();
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(work_dir program pgbackrest pg_versions run_command wait_until full_run deep_run slurp spew
	snapshot tree_diff same_tree flip_bit truncate_file shell_words spawn_command reap kill_after);

my $owner = $$;
my ($work, $program);
my @at_end;

die "PostgreSQL refuses to run as root: use sh test/run.sh, or an ordinary user\n" if $> == 0;

# Failures explain themselves in order on stdout, where run-tap.pl and prove -v show them.
Test::More->builder->failure_output(\*STDOUT);
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 128 + POSIX::SIGTERM() };
for my $name (grep { /^PG[A-Z_0-9]*$/ && $_ ne 'PGSTRATA' } keys %ENV) {
	delete $ENV{$name};
}

END {
	if ($$ == $owner) {
		my $status = $?;
		$_->() for reverse @at_end;
		chdir '/';
		if (defined $work && $ENV{KEEP}) {
			diag "kept: $work";
		} elsif (defined $work) {
			remove_tree($work);
		}
		$? = $status;
	}
}

# at_end(CODE): run when the test ends, last come first served.
sub at_end { push @at_end, @_ }

sub work_dir {
	$work //= abs_path(tempdir('pgs-XXXXXX', DIR => $ENV{TMPDIR} // '/tmp'));
	return $work;
}

# The program under test, as an absolute path.
sub program {
	return $program if defined $program;
	my $build = $ENV{builddir} // abs_path(dirname(__FILE__) . '/../../build') // '.';
	my $path = $ENV{PGSTRATA} // "$build/pgstrata";
	-x $path or plan(skip_all => "no program at $path: build it, or set PGSTRATA");
	return $program = abs_path($path);
}

# Debian's pgbackrest, or undef.
sub pgbackrest { return -x '/usr/bin/pgbackrest' ? '/usr/bin/pgbackrest' : undef }

# Major versions of the PostgreSQL servers on this machine, oldest first.
sub pg_versions {
	my @found = map { m{/(\d+)/bin/} } glob '/usr/lib/postgresql/*/bin/postgres';
	return sort { $a <=> $b } @found;
}

# CI asks for full matrices, --deep for long campaigns as well.
sub full_run { return $ENV{TEST_FULL} || $ENV{TEST_DEEP} }
sub deep_run { return $ENV{TEST_DEEP} }

# run_command(\@command, dir =>, env => {}, stdin => text, timeout => seconds): returns exit code
# (128 + signal for a signal), stdout, stderr.  Output goes through files, so a background child
# cannot make us wait.
sub run_command {
	my ($command, %how) = @_;
	my ($in, $out, $err) = map { work_dir() . "/run.$$.$_" } qw(in out err);
	spew($in, $how{stdin} // '');
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		chdir $how{dir} or POSIX::_exit(126) if $how{dir};
		for my $name (keys %{$how{env} // {}}) {
			defined $how{env}{$name} ? ($ENV{$name} = $how{env}{$name}) : delete $ENV{$name};
		}
		open(STDIN, '<', $in) && open(STDOUT, '>', $out) && open(STDERR, '>', $err) or POSIX::_exit(126);
		exec { $command->[0] } @$command or POSIX::_exit(127);
	}
	my $late = time + ($how{timeout} // 300);
	until (waitpid($pid, POSIX::WNOHANG()) == $pid) {
		if (time > $late) {
			kill 'KILL', $pid;
			waitpid $pid, 0;
			return (124, slurp($out), slurp($err) . "still running after its time, killed\n");
		}
		sleep 0.01;
	}
	my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	my @result = ($code, slurp($out), slurp($err));
	unlink $in, $out, $err;
	return @result;
}

# spawn_command(\@command, env => {}, stdin => text): the command in the background, in a process group of its own.
# Returns what reap wants; {pid} may be signalled.  Whatever of it still runs at the end of the test is killed.
my $spawned = 0;
sub spawn_command {
	my ($command, %how) = @_;
	my $files = work_dir() . "/spawn.$$." . ++$spawned;
	spew("$files.in", $how{stdin} // '');
	spew("$files.out");
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		setpgrp;
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		for my $name (keys %{$how{env} // {}}) {
			defined $how{env}{$name} ? ($ENV{$name} = $how{env}{$name}) : delete $ENV{$name};
		}
		open(STDIN, '<', "$files.in") && open(STDOUT, '>', "$files.out") && open(STDERR, '>&', \*STDOUT)
			or POSIX::_exit(126);
		exec { $command->[0] } @$command or POSIX::_exit(127);
	}
	my $process = { pid => $pid, files => $files };
	at_end(sub { kill 'KILL', -$pid if !defined $process->{code} });
	return $process;
}

sub has_ended {
	my ($process) = @_;
	if (!defined $process->{code} && waitpid($process->{pid}, POSIX::WNOHANG()) == $process->{pid}) {
		$process->{code} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	}
	return defined $process->{code};
}

# reap(PROCESS, seconds): wait for it (killed when its time is over): exit code as run_command's, all output.
sub reap {
	my ($process, $seconds) = @_;
	my $late = time + ($seconds // 300);
	until (has_ended($process)) {
		kill 'KILL', -$process->{pid} if time > $late;
		sleep 0.01;
	}
	if (!defined $process->{output}) {
		$process->{output} = slurp("$process->{files}.out");
		unlink map { "$process->{files}.$_" } qw(in out);
	}
	return @$process{qw(code output)};
}

# kill_after(PROCESS, REGEX, COUNT): killed as soon as its output has COUNT matches, so on a machine of any speed it has done that much;
# what reap returns (an exit code of its own when it ended before).
sub kill_after {
	my ($process, $regex, $count) = @_;
	until (has_ended($process) || (() = slurp("$process->{files}.out") =~ /$regex/g) >= $count) {
		sleep 0.002;
	}
	kill 'KILL', -$process->{pid} if !has_ended($process);
	return reap($process);
}

# wait_until(CODE, seconds): 1 as soon as CODE is true, 0 when it did not become so.
sub wait_until {
	my ($is_so, $seconds) = @_;
	my $late = time + ($seconds // 60);
	until ($is_so->()) {
		return 0 if time > $late;
		sleep 0.1;
	}
	return 1;
}

# The words as one line that a shell splits into the same words.
sub shell_words {
	return join ' ', map {
		my $word = $_;
		$word =~ s/'/'\\''/g;
		$word =~ m{^[\w./:=,@%+-]+$} ? $word : "'$word'";
	} @_;
}

sub slurp {
	my ($file) = @_;
	open(my $in, '<:raw', $file) or die "open $file: $!";
	local $/;
	return scalar(<$in>) // '';
}

sub spew {
	my ($file, @text) = @_;
	open(my $out, '>:raw', $file) or die "create $file: $!";
	print $out @text or die "write $file: $!";
	close($out) or die "write $file: $!";
}

# snapshot(DIR, ignore => regex): path => "type mode size sha1" (files), "type mode" (folders), or
# "l destination", for all below DIR; paths are relative, DIR itself is ".".
sub snapshot {
	my ($dir, %how) = @_;
	my %tree;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my $name = $File::Find::name eq $dir ? '.' : substr($File::Find::name, length($dir) + 1);
		if ($how{ignore} && $name =~ $how{ignore}) {
			$File::Find::prune = 1;
			return;
		}
		my ($mode, $size) = (lstat $File::Find::name)[2, 7];
		return if !defined $mode;
		my $bits = sprintf '%04o', S_IMODE($mode);
		$tree{$name} =
			S_ISLNK($mode) ? 'l ' . readlink($File::Find::name)
			: S_ISDIR($mode) ? "d $bits"
			: S_ISREG($mode) ? "f $bits $size " . Digest::SHA->new(1)->addfile($File::Find::name, 'b')->hexdigest
			: "special $bits";
	} }, $dir);
	return \%tree;
}

# One line for each difference between two snapshots.
sub tree_diff {
	my ($one, $two) = @_;
	my %names = (%$one, %$two);
	return map {
		!exists $two->{$_} ? "$_: only in the first ($one->{$_})"
		: !exists $one->{$_} ? "$_: only in the second ($two->{$_})"
		: $one->{$_} ne $two->{$_} ? "$_: $one->{$_} -> $two->{$_}"
		: ()
	} sort keys %names;
}

# A test point: two snapshots are equal.
sub same_tree {
	my ($one, $two, $name) = @_;
	my @different = tree_diff($one, $two);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(!@different, $name) || do {
		my $count = @different;
		splice @different, 20;
		diag("$count differences, among them:\n" . join("\n", @different));
		0;
	};
}

# Damage: one bit (0..7) of the byte at offset (negative: from the end) turned over; the file cut to
# size.
sub flip_bit {
	my ($file, $offset, $bit) = @_;
	open(my $handle, '+<:raw', $file) or die "open $file: $!";
	$offset += -s $file if $offset < 0;
	sysseek($handle, $offset, 0) && sysread($handle, my $byte, 1) == 1 or die "$file has no byte $offset";
	sysseek($handle, $offset, 0);
	syswrite($handle, chr(ord($byte) ^ 1 << ($bit // 0))) == 1 or die "write $file: $!";
	close $handle;
}

sub truncate_file {
	my ($file, $size) = @_;
	truncate($file, $size) or die "truncate $file: $!";
}

require PgStrata::Cluster;
require PgStrata::Stanza;

1;
