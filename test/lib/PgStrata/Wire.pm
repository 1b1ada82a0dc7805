# PgStrata::Wire: the protocol of doc/protocol.md once more, independent of the program, so that it can be spoken well or badly.
#
#	my $wire = PgStrata::Wire->run([ program(), '--stanza=demo', '--role=archive', 'serve' ]);	# or ssh ...
#	my $hello = $wire->greet(roles => 1);
#	my $got = $wire->ask(wire_get(1, 'archive/demo/archive.info'));	# { answer =>, data =>, failure =>, ... }
#	$wire->goodbye;
#	my ($code, $stderr) = $wire->end;
#
# And between two real sides: relay() is an ssh that starts the command here and reads along: it writes down frames, cuts
# or stalls at one of them, plays what was recorded, or makes both sides believe that the other one speaks 1.0.
#
# Always true: nothing waits without an end; what is sent is what the test says, also if it is nonsense; only core modules, and nothing
# of PgStrata.pm, because a relay is started by the program under test.
package PgStrata::Wire;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT = qw(wire_text wire_frame wire_get wire_put wire_path wire_spec wire_hello wire_fields relay_script %role %verb);

our %role = (archive => 1, restore => 2, backup => 4);
our %verb = (get => 1, put => 2, list => 3, tree => 4, stat => 5, sync => 6, db_open => 10, db_time => 11, db_segment => 12,
	db_start => 13, db_stop => 14, db_switch => 15, db_databases => 16, db_tablespaces => 17, db_ping => 18, db_replay => 19,
	db_checkpoint => 20, db_wal_end => 21);

use constant { LAST => 1, PACKED => 2, NONE => 0xFFFFFFFF, SECONDS => 60 };

# --- things as bytes ---

sub wire_text { return defined $_[0] ? pack('V/a*', $_[0]) : pack('V', NONE) }

# wire_frame(TYPE, REQUEST, CONTENT, FLAGS, LENGTH): LENGTH if it is to lie.
sub wire_frame {
	my ($type, $request, $content, $flags, $length) = @_;
	$content //= '';
	return pack('Va1CvV', $length // length $content, $type, $flags // LAST, 0, $request) . $content;
}

sub wire_hello {
	my (%h) = @_;
	return pack('vv', $h{major} // 1, $h{minor} // 1) . wire_text($h{program} // 'a test') . wire_text($h{capabilities} // 'ahead blocks')
		. pack('V', $h{ahead} // 256) . wire_text($h{stanza}) . pack('V', $h{roles} // 0)
		. ($h{places} ? pack('CV', $h{forced} // 0, scalar @{$h{places}}) . join('', map { pack('V', $_->{number}) . wire_text($_->{path}) . wire_text($_->{cipher}) }
			@{$h{places}}) : wire_text($h{'exec-id'} // '1-test') . pack('q<V', $h{silence} // 30000, $h{level} // 0xFFFFFF80));
}

sub bits { my $set = 0; $set |= $_[$_] << $_ for 0 .. $#_; return pack('V', $set) }

# wire_spec(field => value): a pipe_spec; codecs by number; set => N: its bits, if they are to lie.
sub wire_spec {
	my (%s) = @_;
	my $b = $s{blocks};
	return (defined $s{set} ? pack('V', $s{set}) : bits(map { $_ ? 1 : 0 } @s{qw(raw hash-plain hash-stored page-header)}, defined $s{unless},
			$s{'skip-empty'}, $b))
		. wire_text($s{decrypt}) . wire_text($s{encrypt}) . pack('CCl<VV', $s{expand} // 0, $s{compress} // 0, $s{level} // 0, $s{'page-size'} // 0,
			$s{'first-block'} // 0)
		. ($s{unless} // '')
		. ($b ? pack('VVV', $b->{block} // 8192, $b->{sum} // 6, $b->{super} // 262144)
			. (defined $b->{length} ? pack('V', $b->{length}) : '') . (defined $b->{length} ? $b->{prior} // '' : pack('V/a*', $b->{prior} // ''))
			. pack('Cl<', $b->{codec} // 0, $b->{level} // 0) . wire_text($b->{pass}) : '');
}

# Requests, the verb in front.
sub wire_get {
	my ($place, $path, %g) = @_;
	return pack('CV', $verb{get}, $place) . wire_text($path)
		. (defined $g{set} ? pack('V', $g{set}) : bits(map { $_ ? 1 : 0 } $g{exact}, $g{entry}, defined $g{spec}))
		. pack('Q<Q<', $g{offset} // 0, $g{length} // 0) . ($g{spec} // '');
}

sub wire_put {
	my ($place, $path, %p) = @_;
	return pack('CV', $verb{put}, $place) . wire_text($path) . bits($p{'create-new'} // 1, $p{replace} // 0);
}

sub wire_path {
	my ($name, $place, $path) = @_;
	return pack('CV', $verb{$name}, $place) . wire_text($path);
}

# wire_fields(TEMPLATE, BYTES): each letter is a field: b u8, h u16, i u32, q i64, t text; what is missing is undef, what is too much comes last.
sub wire_fields {
	my ($template, $bytes) = @_;
	my %one = (b => [ 1, 'C' ], h => [ 2, 'v' ], i => [ 4, 'V' ], q => [ 8, 'q<' ]);
	my @fields;
	for my $letter (split //, $template) {
		my ($size, $how) = @{$one{$letter} // [ 4, 'V' ]};
		my $value = length $bytes >= $size ? unpack($how, substr($bytes, 0, $size, '')) : undef;
		if ($letter eq 't') {
			$value = !defined $value || $value == NONE ? undef : substr($bytes, 0, $value, '');
		}
		push @fields, $value;
	}
	return (@fields, $bytes);
}

# --- one side of a conversation ---

# over(IN, OUT): the other side is at the end of these handles.
sub over {
	my ($class, $in, $out, %more) = @_;
	for my $handle ($in, $out) {
		binmode $handle;
		fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK);
	}
	return bless { in => $in, out => $out, input => '', queue => '', seen => '', number => 0, %more }, $class;
}

# run(\@command, env => {}): start the other side; its standard error is kept.
my $runs = 0;
sub run {
	my ($class, $command, %how) = @_;
	my $errors = ($how{errors} // '/tmp') . "/wire.$$." . ++$runs;
	pipe(my $their_in, my $out) && pipe(my $in, my $their_out) or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
		$ENV{$_} = $how{env}{$_} for keys %{$how{env} // {}};
		open(STDIN, '<&', $their_in) && open(STDOUT, '>&', $their_out) && open(STDERR, '>', $errors) or POSIX::_exit(126);
		exec { $command->[0] } @$command or POSIX::_exit(127);
	}
	close $_ for $their_in, $their_out;
	return $class->over($in, $out, pid => $pid, errors => $errors);
}

# Read and write until it is so; false when the time is over.
sub pump {
	my ($self, $seconds, $is_so) = @_;
	my $late = time + $seconds;
	local $SIG{PIPE} = 'IGNORE';
	until ($is_so->()) {
		my $left = $late - time;
		return 0 if $left <= 0;
		my ($reading, $writing) = ('', '');
		vec($reading, fileno $self->{in}, 1) = 1 if !$self->{ended};
		vec($writing, fileno $self->{out}, 1) = 1 if $self->{out} && length $self->{queue};
		select $reading, $writing, undef, $left;
		$self->read_some if !$self->{ended} && vec($reading, fileno $self->{in}, 1);
		$self->write_some if $self->{out} && length $self->{queue} && vec($writing, fileno $self->{out}, 1);
	}
	return 1;
}

sub read_some {
	my ($self) = @_;
	my $n = sysread $self->{in}, my $bytes, 1 << 20;
	return if !defined $n && $!{EAGAIN};
	return $self->{ended} = 1 if !$n;
	$self->{input} .= $bytes;
	$self->{seen} .= $bytes;
}

sub write_some {
	my ($self) = @_;
	my $n = syswrite $self->{out}, $self->{queue}, 1 << 16;
	if (defined $n) {
		substr($self->{queue}, 0, $n, '');
	} elsif (!$!{EAGAIN}) {
		$self->{queue} = '';
		$self->{deaf} = 1;
	}
}

# raw(BYTES): sent in time, unless the other side does not listen any more.
sub raw {
	my ($self, $bytes) = @_;
	return $self if $self->{deaf} || !$self->{out};
	$self->{queue} .= $bytes;
	$self->pump(SECONDS, sub { $self->{deaf} || !length $self->{queue} }) or $self->{late} = 'it does not read';
	return $self;
}

sub send { my ($self, @frame) = @_; return $self->raw(wire_frame(@frame)) }

# request(BYTES, number => N): sent as a Q; its number.
sub request {
	my ($self, $bytes, %how) = @_;
	my $number = $how{number} // ++$self->{number};
	$self->send('Q', $number, $bytes);
	return $number;
}

# The next frame but pings; undef at the end, or when the time is over ({late} says so then).
sub frame {
	my ($self, $seconds) = @_;
	my $size;
	$self->pump($seconds // SECONDS, sub {
		$size = length $self->{input} >= 12 ? 12 + unpack('V', $self->{input}) : undef;
		return $self->{ended} || (defined $size && length $self->{input} >= $size);
	}) or $self->{late} = 'it says nothing';
	return undef if !defined $size || length $self->{input} < $size;
	my ($length, $type, $flags, $zero, $request, $data) = unpack 'Va1CvVa*', substr($self->{input}, 0, $size, '');
	return $self->frame($seconds) if $type eq 'P';
	$self->{seen} .= $data = expand($data) if $type eq 'D' && $flags & PACKED;
	return { type => $type, flags => $flags, request => $request, data => $data };
}

# A packed frame's bytes as they were; what cannot be expanded, or is not as long as it says, is the death of the test.
sub expand {
	my ($packed) = @_;
	my $file = ($ENV{TMPDIR} // '/tmp') . "/wire.$$.zst";
	put_file($file, substr $packed, 4);
	open(my $zstd, '-|:raw', 'zstd', '-dcq', $file) or die "zstd: $!";
	my $plain = do { local $/; <$zstd> } // '';
	close $zstd or die "zstd: $?";
	unlink $file;
	length $plain == unpack('V', $packed) or die 'a packed frame has ' . length($plain) . " bytes and not what it says\n";
	return $plain;
}

# The server's hello; undef if there is none.
sub hello {
	my ($self) = @_;
	$self->pump(SECONDS, sub { $self->{ended} || length $self->{input} >= 8 });
	return undef if substr($self->{input}, 0, 8, '') ne 'PGSTRATA';
	my $frame = $self->frame;
	return undef if !$frame || $frame->{type} ne 'H';
	return parse_hello($frame->{data}, 1);
}

sub parse_hello {
	my ($bytes, $server) = @_;
	my %h;
	(@h{qw(major minor program capabilities ahead stanza roles)}, my $rest) = wire_fields('hhttiti', $bytes);
	if ($server) {
		($h{forced}, my $n, $rest) = wire_fields('bi', $rest);
		for (1 .. $n) {
			(my ($number, $path, $cipher), $rest) = wire_fields('itt', $rest);
			push @{$h{places}}, { number => $number, path => $path, cipher => $cipher };
		}
	} else {
		(@h{qw(exec-id silence level)}, $rest) = wire_fields('tqi', $rest);
	}
	$h{rest} = $rest;
	return \%h;
}

# greet(field => value): both hellos; the server's.
sub greet {
	my ($self, %mine) = @_;
	my $hello = $self->hello;
	$self->send('H', 0, wire_hello(%mine), 1) if $hello;
	return $hello;
}

sub parse_failure {
	my ($bytes) = @_;
	my ($code, $message, $hints) = wire_fields('htt', $bytes);
	return { code => $code // 0, message => $message // '', hints => $hints // '' };
}

# answer(NUMBER): all frames up to the one that ends this request, or the conversation.
sub answer {
	my ($self, $number, $seconds) = @_;
	my %got = (data => '', frames => []);
	my $answer = '';
	while (my $frame = $self->frame($seconds)) {
		push @{$got{frames}}, $frame;
		$got{data} .= $frame->{data} if $frame->{type} eq 'D';
		$got{entry} = $frame->{data} if $frame->{type} eq 'O';
		if ($frame->{type} eq 'E') {
			$got{failure} = parse_failure($frame->{data});
			return \%got if $frame->{request} == 0 || $frame->{request} == $number;
		}
		$answer .= $frame->{data} if $frame->{type} eq 'A' && $frame->{request} == $number;
		if ($frame->{type} eq 'A' && $frame->{request} == $number && $frame->{flags} & LAST) {
			$got{answer} = $answer;
			return \%got;
		}
	}
	$got{ended} = 1;
	return \%got;
}

sub ask {
	my ($self, $bytes, %how) = @_;
	return $self->answer($self->request($bytes, %how));
}

# put(PLACE, PATH, BYTES, final =>, ...): all frames of it, and the answer.
sub put {
	my ($self, $place, $path, $bytes, %how) = @_;
	my $number = $self->request(wire_put($place, $path, %how));
	$self->send('D', $number, $bytes, LAST);
	$self->send('F', $number, wire_text($how{final} // $path), LAST);
	return $self->answer($number);
}

sub goodbye {
	my ($self) = @_;
	$self->send('G', 0, '', LAST);
	while (my $frame = $self->frame) {
		return 1 if $frame->{type} eq 'G';
	}
	return 0;
}

# hang_up: nothing more is sent.
sub hang_up {
	my ($self) = @_;
	close $self->{out} if $self->{out};
	$self->{out} = undef;
}

# end(SECONDS): hang up, read to the end, wait for what run() started: its exit code and standard error.  124: it had to be killed.
sub end {
	my ($self, $seconds) = @_;
	$self->hang_up;
	my $late = time + ($seconds // SECONDS);
	$self->pump($late - time, sub { $self->{ended} });
	close $self->{in};
	my $code;
	until (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}) {
		if (!defined $code && time > $late) {
			$code = 124;
			kill 'KILL', $self->{pid};
		}
		sleep 0.005;
	}
	$code //= $? & 127 ? 128 + ($? & 127) : $? >> 8;
	open(my $in, '<:raw', $self->{errors}) or die "$self->{errors}: $!";
	my $text = do { local $/; <$in> } // '';
	unlink $self->{errors};
	return ($code, $text);
}

# --- between two sides ---

# relay_script(FILE, DIR): an executable for cmd-ssh.  What it does is in DIR/plan, a line of words "name=value":
#	mode=record		pass on, write down (all modes do that)
#	mode=cut|stall connection=N from=caller|server frame=N at=BYTES		at a byte of a frame (0: before it), counted from 0
#	mode=play file=FILE	send that and wait for the caller's end
#	mode=older [major=2]	both sides hear from the other one that it speaks 1.0
# DIR/frames gets a line per frame: connection, from, number, type, bytes, request; DIR/N.caller and DIR/N.server the bytes; DIR/notes what
# an older side must not see.
sub relay_script {
	my ($file, $dir) = @_;
	mkdir $dir;
	my $lib = abs_path($INC{'PgStrata/Wire.pm'} =~ s{/PgStrata/Wire\.pm$}{}r);
	put_file($file, "#!/usr/bin/perl\nuse lib '$lib';\nuse PgStrata::Wire;\nexit PgStrata::Wire::relay('$dir', \@ARGV);\n");
	chmod 0755, $file;
}

sub get_file {
	my ($file) = @_;
	open(my $in, '<:raw', $file) or die "$file: $!";
	local $/;
	return scalar(<$in>) // '';
}

sub put_file {
	my ($file, $text, $how) = @_;
	open(my $out, $how // '>', $file) or die "$file: $!";
	binmode $out;
	syswrite($out, $text) // die "$file: $!" if length $text;
}

sub relay {
	my ($dir, @words) = @_;
	my %plan = map { /^(.+?)=(.*)$/ ? ($1, $2) : () } split ' ', get_file("$dir/plan");
	my $number = 1;
	$number++ until mkdir "$dir/connection.$number";
	$SIG{PIPE} = 'IGNORE';
	return play($plan{file}) if $plan{mode} eq 'play';
	pipe(my $their_in, my $to) && pipe(my $from, my $their_out) or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{PIPE} = 'DEFAULT';
		close $_ for $to, $from;
		open(STDIN, '<&', $their_in) && open(STDOUT, '>&', $their_out) or POSIX::_exit(126);
		exec 'sh', '-c', $words[-1] or POSIX::_exit(127);
	}
	close $_ for $their_in, $their_out;
	my $self = { dir => $dir, number => $number, plan => \%plan, open => 0,
		caller => PgStrata::Wire->over(\*STDIN, $to), server => PgStrata::Wire->over($from, \*STDOUT) };
	$_->{frame} = 0 for $self->{caller}, $self->{server};
	carry($self) or return 255;
	waitpid $pid, 0;
	return $? & 127 ? 255 : $? >> 8;
}

sub play {
	my ($file) = @_;
	my $wire = PgStrata::Wire->over(\*STDIN, \*STDOUT);
	$wire->raw(get_file($file));
	close STDOUT;
	$wire->pump(SECONDS, sub { $wire->{ended} });
	return 0;
}

# Frames both ways until both have ended; false if they were cut.
sub carry {
	my ($self) = @_;
	until (!$self->{caller}{out} && !$self->{server}{out}) {
		my ($reading, $writing) = ('', '');
		for my $way (@$self{qw(caller server)}) {
			vec($reading, fileno $way->{in}, 1) = 1 if !$way->{ended} && length $way->{queue} < 1 << 22;
			vec($writing, fileno $way->{out}, 1) = 1 if $way->{out} && length $way->{queue};
		}
		select $reading, $writing, undef, SECONDS or return 0;
		for my $from (qw(caller server)) {
			my $way = $self->{$from};
			$way->read_some if !$way->{ended} && vec($reading, fileno $way->{in}, 1);
			$way->{seen} = '';
			while (defined(my $frame = cut_frame($way, $from))) {
				pass($self, $from, $frame) or return 0;
			}
			$way->write_some if $way->{out} && vec($writing, fileno $way->{out}, 1);
			$way->hang_up if $way->{out} && ($way->{deaf} || $way->{ended} && !length $way->{queue});
			# whoever has ended wants no answers
			$way->{ended} = 1 if !$self->{server}{out};
		}
	}
	return 1;
}

# The next whole frame of a side, the magic as one, and what is behind its last whole one at the end.
sub cut_frame {
	my ($way, $from) = @_;
	my $have = length $way->{input};
	my $size = $from eq 'server' && $way->{frame} == 0 ? 8 : $have >= 12 ? 12 + unpack('V', $way->{input}) : 1 << 40;
	$size = $have if $way->{ended} && $have && $have < $size;
	return $have && $have >= $size ? substr($way->{input}, 0, $size, '') : undef;
}

# One frame goes on; false if here everything ends.
sub pass {
	my ($self, $from, $frame) = @_;
	my ($way, $plan) = ($self->{$from}, $self->{plan});
	my $index = $way->{frame}++;
	my ($length, $type, undef, undef, $request) = length $frame >= 12 ? unpack('Va1CvV', $frame) : (0, '-', 0, 0, 0);
	put_file("$self->{dir}/frames", "$self->{number} $from $index $type " . length($frame) . " $request\n", '>>');
	put_file("$self->{dir}/$self->{number}.$from", $frame, '>>');
	$frame = older($self, $from, $frame) if $plan->{mode} eq 'older';
	my $here = $plan->{mode} =~ /^(?:cut|stall)$/ && $plan->{connection} == $self->{number} && $plan->{from} eq $from
		&& $plan->{frame} == $index;
	$way->{queue} .= $here ? substr($frame, 0, $plan->{at}) : $frame;
	return 1 if !$here;
	put_file("$self->{dir}/reached", '1');
	for my $one (@$self{qw(caller server)}) {
		$one->pump(5, sub { !$one->{out} || $one->{deaf} || !length $one->{queue} });
	}
	if ($plan->{mode} eq 'stall') {
		$self->{caller}->pump(SECONDS, sub { $self->{caller}{seen} = $self->{caller}{input} = ''; $self->{caller}{ended} });
	} else {
		print STDERR "Connection to there closed by remote host.\n";
	}
	return 0;
}

# A frame as somebody who speaks 1.0 would have sent it, and who must not be sent everything.
sub older {
	my ($self, $from, $frame) = @_;
	return $frame if length $frame < 12;
	my ($length, $type, $flags, undef, $request, $data) = unpack('Va1CvVa*', $frame);
	if ($type eq 'H') {
		my %h = %{parse_hello($data, $from eq 'server')};
		$h{places} //= [] if $from eq 'server';
		put_file("$self->{dir}/hello.$from", "$h{major}.$h{minor}");
		return wire_frame('H', 0, wire_hello(%h, major => $self->{plan}{major} // 1, minor => 0, capabilities => '', ahead => 0,
			program => 'pgStrata 0.0.9'), $flags);
	}
	my $last = $flags & LAST;
	note($self, "request $request before the answer") if $from eq 'caller' && $type eq 'Q' && $last && $self->{open}++ > 0;
	note($self, "blocks in request $request") if $from eq 'caller' && $type eq 'Q' && asks_blocks($data);
	$self->{open}-- if $from eq 'server' && $type =~ /[AE]/;
	return $frame;
}

sub note { put_file("$_[0]{dir}/notes", "$_[1]\n", '>>') }

# Is this a get with blocks in its spec?  The parts of wire_get and wire_spec up to there.
sub asks_blocks {
	my ($data) = @_;
	my ($verb, undef, undef, $set, undef, undef, $spec) = wire_fields('bitiqq', $data);
	return ($verb // 0) == $verb{get} && ($set // 0) & 4 && unpack('V', $spec) & 64;
}

1;
