# PgStrata::Ledger: a server under writers, an archive_command to which everything happens, and the books of both: each
# acknowledged commit, and each file that PostgreSQL was told to be archived.
#
#	my $ledger = PgStrata::Ledger->new(cluster => $pg, stanza => $stanza, modes => [ [], ['--archive-async'] ]);
#	$pg->start;				archive_command is set by new
#	$ledger->open_books(2);			two writers begin
#	$ledger->weather('kill', 20);		until 20 more pushes have suffered from it
#	$ledger->point('noon');			a restore point
#	$ledger->close_books;
#	is_deeply([ $ledger->wrong_files($stanza) ], []);
#	is_deeply([ $ledger->wrong_rows($restored, 'noon') ], []);
#
# Always true: a row is in the books if and only if its writer was told of the commit; with it stand the insert
# positions of WAL before its commit record and after it, and the writer's clock, so that for any point of the WAL it is
# known which rows must and which must not be there.  What happens is drawn at random (SEED repeats it as far as
# processes do), and ends by what has happened, never by the clock.
package PgStrata::Ledger;
use strict;
use warnings;
use File::Compare qw(compare);
use IPC::Open2 qw(open2);
use PgStrata;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

sub new {
	my ($class, %how) = @_;
	my $dir = work_dir() . '/ledger';
	mkdir $dir or die "mkdir $dir: $!";
	mkdir "$dir/kept" or die "mkdir $dir/kept: $!";
	my $self = bless { %how, dir => $dir, points => {}, writers => [], slow => {} }, $class;
	spew("$dir/$_", '') for qw(done odd suffered);
	spew("$dir/weather", 'calm');
	srand($self->{seed} = $ENV{SEED} // time);
	$self->write_command;
	$self->{cluster}->conf_add('archive_mode = on', "archive_command = '$dir/pgstrata-push.pl %p'");
	return $self;
}

# --- the archive_command ---

# It keeps a copy of what it is given, then runs the program in a mode drawn from {modes} and with a codec drawn from
# all, again as long as the weather spoils it, but for some failures that are left to PostgreSQL.  The weathers:
#	kill	the program dies before some system call, or gets a signal from outside
#	full	it may write no file beyond some size, or the disk is full from some system call on
#	slow	it stands still before some system call for a while
# and "unwritable" is none of its own: the folders are.
sub write_command {
	my ($self) = @_;
	my @words = $self->{stanza}->command;
	my $modes = join ', ', map { '[' . join(', ', map { "'$_'" } @$_) . ']' } @{ $self->{modes} // [ [] ] };
	spew("$self->{dir}/pgstrata-push.pl", <<"END" . <<'END');
#!$^X
my \@words = (@{[ join ', ', map { "'$_'" } @words ]});
my (\$dir, \@modes) = ('$self->{dir}', $modes);
END
use strict;
use File::Compare qw(compare);
use File::Copy qw(copy);
my $file = shift;
my ($name) = $file =~ m{([^/]+)$};
sub note { open(my $out, '>>', "$dir/$_[0]") or die; syswrite $out, "$_[1]\n" }
sub weather { open(my $in, '<', "$dir/weather") or return 'calm'; return scalar(<$in>) // 'calm' }
my %faults = (kill => ['any', 'kill', 12], full => ['write', 'ENOSPC:forever', 3], slow => ['any', 'stop', 12]);

if (-e "$dir/kept/$name") {
	note(odd => "$name was given with two contents") if compare($file, "$dir/kept/$name") != 0;
} else {
	# whole or not at all: a server that crashes takes its archive_command with it
	copy($file, "$dir/kept.$$") && rename "$dir/kept.$$", "$dir/kept/$name" or die;
}
$SIG{XFSZ} = 'IGNORE';
for (;;) {
	my $weather = weather();
	my @mode = @{ $modes[rand @modes] };
	my $child = fork // die;
	if ($child == 0) {
		my @command = (@words, @mode, '--compress-type=' . (qw(none lz4 zst gz))[rand 4], 'archive-push', $file);
		if ($faults{$weather} && rand(2) > 1) {
			my ($call, $action, $most) = @{ $faults{$weather} };
			$ENV{PGSTRATA_FAULT} = "$call:" . (1 + int rand(rand(2) > 1 ? 10 * $most : $most)) . ":$action";
		} elsif ($weather eq 'full') {
			@command = ('/bin/sh', '-c', 'ulimit -f ' . int(2 + rand 40) . '; exec "$@"', 'sh', @command);
		}
		exec @command;
		exit 127;
	}
	waitpid $child, 0;
	note(suffered => "$weather $?") if $weather ne 'calm';
	if ($? == 0) {
		note(done => $name);
		exit 0;
	}
	my $code = $? >> 8;
	note(odd => "$name: $weather: status $?") if $? & 127 ? $? != 9 : $code == 117 || $code > 125;
	# 45: a push that a crashed server has left behind stores the same bytes with another codec in this very moment; neither
	# may count then, and the next one does
	note(odd => "$name: fails in calm weather: $code") if $weather eq 'calm' && weather() eq 'calm' && $code != 82 && $code != 45;
	exit 1 if rand(100) < 2;
	select undef, undef, undef, 0.02;
}
END
	chmod 0755, "$self->{dir}/pgstrata-push.pl";
}

# The program's processes that work for this stanza.
sub processes {
	my ($self) = @_;
	my $config = $self->{stanza}->config_file;
	my @found;
	for my $file (glob '/proc/[0-9]*/cmdline') {
		open(my $in, '<', $file) or next;
		my ($program, $first) = split /\0/, scalar(readline $in) // '';
		push @found, $file =~ /(\d+)/ if ($first // '') eq "--config=$config";
	}
	return @found;
}

sub is_stopped {
	my ($pid) = @_;
	open(my $in, '<', "/proc/$pid/stat") or return 0;
	return (readline($in) // '') =~ /^\d+ \(.*\) T /;
}

# One act of the weather from outside.
sub act {
	my ($self, $weather) = @_;
	my @pids = $self->processes;
	if ($weather eq 'kill' && @pids) {
		kill 'KILL', $pids[rand @pids] if rand(4) < 1;
	} elsif ($weather eq 'slow' && @pids) {
		kill 'STOP', $pids[rand @pids] if rand(4) < 1;
	}
	for my $pid (grep { is_stopped($_) } @pids) {
		kill 'CONT', $pid if $weather ne 'slow' || rand(10) < 1;
	}
}

sub unwritable_folders {
	my ($self) = @_;
	my $root = $self->{stanza}->path('repo', 'archive', $self->{stanza}->name);
	return grep { -d } map { glob } "$root/*", "$root/*/*";
}

sub lines { my ($self, $file) = @_; return split /\n/, slurp("$self->{dir}/$file") }

# Until so many more runs of the program ended in this weather (calm: until so many more files are archived).
sub weather {
	my ($self, $weather, $count) = @_;
	my $book = $weather eq 'calm' ? 'done' : 'suffered';
	my $wanted = $count + scalar $self->lines($book);
	my $switched = time;
	spew("$self->{dir}/weather.new", $weather);
	rename "$self->{dir}/weather.new", "$self->{dir}/weather" or die "weather: $!";
	chmod 0500, $self->unwritable_folders if $weather eq 'unwritable';
	until ($self->lines($book) >= $wanted) {
		$self->act($weather);
		sleep 0.01;
		next if time < $switched + 1;
		# the archiver, when it has given up for a minute, looks again when a segment is complete
		$self->{cluster}->psql("SELECT pg_create_restore_point('wake'), pg_switch_wal()", may_fail => 1);
		$switched = time;
	}
	chmod 0750, $self->unwritable_folders if $weather eq 'unwritable';
	$self->act('calm');
}

# --- the writers ---

# open_books(COUNT): the table, and writers that go on through restarts of the server.
sub open_books {
	my ($self, $count) = @_;
	$self->{cluster}->psql('CREATE TABLE IF NOT EXISTS ledger (id bigint PRIMARY KEY)');
	unlink "$self->{dir}/closed";
	for my $number (1 .. $count) {
		spew("$self->{dir}/book.$number", '') if !-e "$self->{dir}/book.$number";
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
			$SIG{PIPE} = 'IGNORE';
			$self->write_book($number);
			POSIX::_exit(0);
		}
		push @{ $self->{writers} }, $pid;
		PgStrata::at_end(sub { kill 'KILL', $pid if grep { $_ == $pid } @{ $self->{writers} } });
	}
}

# Each commit fills a sixteenth of a segment of 1 MiB.  It is slowed down when archiving lags behind.
sub write_book {
	my ($self, $number) = @_;
	my $pg = $self->{cluster};
	my @psql = ($pg->bin('psql'), qw(-XAtq -v ON_ERROR_STOP=1 -U postgres -d postgres -h), $pg->socket_dir, '-p', $pg->port, '-f', '-');
	my $id = $number * 1_000_000;
	open(my $book, '>>', "$self->{dir}/book.$number") or die "book: $!";
	open STDERR, '>', '/dev/null';
	until (-e "$self->{dir}/closed") {
		my $pid = open2(my $from, my $to, @psql);
		while (!-e "$self->{dir}/closed") {
			$id++;
			syswrite $to, "WITH fill AS (SELECT pg_logical_emit_message(true, '', repeat(md5(random()::text), 2000)))"
				. " INSERT INTO ledger SELECT $id FROM fill RETURNING pg_current_wal_insert_lsn();\n"
				. "SELECT pg_current_wal_insert_lsn();\n" or last;
			defined(my $before = readline $from) or last;
			my $after = readline $from;
			# acknowledged; where the server died before it was asked again, its end is not known to be earlier than any
			chomp($before, $after //= 'FFFFFFFF/FFFFFFFF');
			syswrite $book, "$id $before $after " . time . "\n";
			sleep 0.005;
			sleep 0.3 if (() = glob $pg->data . '/pg_wal/archive_status/*.ready') > 12;
		}
		close $to;
		close $from;
		waitpid $pid, 0;
		sleep 0.1;
	}
}

# No more writing; all of it is archived.
sub close_books {
	my ($self) = @_;
	spew("$self->{dir}/closed", '');
	waitpid $_, 0 for splice @{ $self->{writers} };
	my $end = $self->{cluster}->switch_wal;
	return $self->{cluster}->wait_archived($end, 120);
}

sub position { my ($high, $low) = $_[0] =~ m{^([0-9A-F]+)/([0-9A-F]+)$} or die "no LSN: $_[0]"; return hex($high) << 32 | hex $low }

sub entries {
	my ($self) = @_;
	return map { my @e = split / /; { id => $e[0], before => position($e[1]), after => position($e[2]), time => $e[3] } }
		map { split /\n/, slurp($_) } glob "$self->{dir}/book.*";
}

sub point {
	my ($self, $name) = @_;
	$self->{points}{$name} = position($self->{cluster}->psql("SELECT pg_create_restore_point('$name')"));
}

# --- judgment ---

# What is wrong with the rows of a recovered server; name: of the point where it stopped, none: the end.
sub wrong_rows {
	my ($self, $pg, $name) = @_;
	my $at = defined $name ? $self->{points}{$name} : undef;
	my %there = map { $_ => 1 } split /\n/, $pg->psql('SELECT id FROM ledger');
	my @wrong;
	for my $e ($self->entries) {
		my $must = !defined $at || $e->{after} <= $at;
		my $must_not = defined $at && $e->{before} >= $at;
		push @wrong, "commit $e->{id} is lost" if $must && !$there{ $e->{id} };
		push @wrong, "commit $e->{id} is of later" if $must_not && $there{ $e->{id} };
	}
	return @wrong;
}

# What PostgreSQL was told to be archived, and what it has marked so.
sub archived { my ($self) = @_; my %names = map { $_ => 1 } $self->lines('done'); return sort keys %names }
sub marked {
	my ($self) = @_;
	return sort map { m{([^/]+)\.done$} } glob $self->{cluster}->data . '/pg_wal/archive_status/*.done';
}

# What is wrong with the files that PostgreSQL believes to be archived: each is to be fetched and compared with the copy that
# was kept, and with the server's own.
sub wrong_files {
	my ($self, $stanza, @options) = @_;
	my $dest = "$self->{dir}/fetched";
	my %archived = map { $_ => 1 } $self->archived;
	my @wrong = map { "$_ is marked as archived, and no push said so" } grep { !$archived{$_} } $self->marked;
	for my $name (sort keys %archived) {
		unlink $dest;
		my ($code, $out, $err) = $stanza->run(@options, 'archive-get', $name, $dest, { dir => '/' });
		my $own = $self->{cluster}->data . "/pg_wal/$name";
		push @wrong, "$name: exit $code\n$out$err" if $code;
		push @wrong, "$name: other bytes than were given" if !$code && compare($dest, "$self->{dir}/kept/$name");
		push @wrong, "$name: other bytes than the server's" if !$code && -e $own && compare($dest, $own);
	}
	return @wrong;
}

1;
