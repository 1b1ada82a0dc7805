# PgStrata::Interop: what the tests share that let pgStrata and the original work on one repository.
#
#	need_pgbackrest();
#	my $pg = PgStrata::Cluster->new(...);
#	odd_content($pg);
#	my $ours = PgStrata::Stanza->new(cluster => $pg);
#	my $theirs = $ours->using(pgbackrest());
#	my $label = backup_by($ours, '--type=full');
#	same_info($ours, $theirs, 'after our backup');
#	same_tree(restored_tree($one), restored_tree($two), 'both restore the same');
#
# Always true: nothing is ignored in a comparison but what is named here, each with its reason.
package PgStrata::Interop;
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Exporter qw(import);
use File::Path qw(make_path remove_tree);
use JSON::PP ();
use POSIX ();
use PgStrata;
use Test::More;

our @EXPORT = qw(need_pgbackrest pgbackrest_since archive_into drop_templates odd_content backup_by start_background
	end_background same_info same_info_text
	restored_tree restore_to stored_segments info_checksum edit_info_file codecs codec_suffix);

my %suffix = (none => '', gz => '.gz', lz4 => '.lz4', zst => '.zst', bz2 => '.bz2');

# The codecs of repository format 5.
sub codecs { return qw(none gz lz4 zst bz2) }
sub codec_suffix { return $suffix{ $_[0] } }

sub need_pgbackrest {
	plan(skip_all => 'pgbackrest is not installed') if !pgbackrest();
	$ENV{TZ} //= 'UTC';
}

my @version;

# Is the installed pgbackrest of this version ("2.46") or newer?
sub pgbackrest_since {
	my @want = split /\./, $_[0];
	if (!@version) {
		my ($code, $out) = run_command([ pgbackrest(), 'version' ]);
		@version = $out =~ /(\d+)\.(\d+)/ or die "pgbackrest version: $out";
	}
	return ($version[0] <=> $want[0] || $version[1] <=> $want[1]) >= 0;
}

# archive_into(CLUSTER, STANZA...): archive each segment into all of these, through a script, because PostgreSQL cuts an
# archive_command at 1023 bytes.  The name of the script is what the original looks for.
sub archive_into {
	my ($pg, @stanzas) = @_;
	my $script = work_dir() . '/pgbackrest-push';
	my @pushes = map { shell_words($_->command('archive-push')) . ' "$1"' } @stanzas;
	spew($script, join "\n", '#!/bin/sh', 'set -e', @pushes, '');
	chmod 0755, $script;
	$pg->conf_add('archive_mode = on', "archive_command = '$script %p'");
}

# Two thirds of an empty cluster are its templates: without them there are fewer files to look at.
sub drop_templates {
	my ($pg) = @_;
	$pg->psql('ALTER DATABASE template0 IS_TEMPLATE false ALLOW_CONNECTIONS true; DROP DATABASE template0')
		if $pg->psql("SELECT count(*) FROM pg_database WHERE datname = 'template0'", may_fail => 1);
	$pg->psql($_) for 'ALTER DATABASE template1 IS_TEMPLATE false', 'DROP DATABASE template1';
}

# Files, links and folders in a data directory that PostgreSQL does not know and a backup has to take; those that
# links lead to are below PLACE.
sub odd_content {
	my ($pg, $place) = @_;
	my $data = $pg->data;
	make_path("$data/extra/empty folder", "$data/extra/deep/er", "$place/dir/sub", "$place/etc");
	my @names = ('a=b {"x"} ü.txt', '[section]', '#comment', 'x="1"', 'odd={"k"=1', 'back\\slash', '-dash',
		"tab\there", 'ends with blank ', '100% $HOME `id` \'q\'', 'n' x 250, 'latin1-' . chr(0xe4), '~tilde', '=',
		'==', 'null=null', 'a.gz', '.hidden', 'pg_internal.init');
	spew("$data/extra/$names[$_]", "content $_ of " . length($names[$_])) for 0 .. $#names;
	spew("$data/extra/empty.bin", '');
	spew("$data/extra/deep/er/8192", 'p' x 8192);
	spew("$data/extra/large.bin", join '', map { sha1_hex("large $_") } 1 .. 40_000);
	spew("$data/extra/same.bin", 'unchanged ' x 3000);
	chmod 0640, "$data/extra/same.bin";
	chmod 0400, "$data/extra/empty.bin";
	chmod 0750, "$data/extra/deep";
	utime 1_000_000_000, 1_000_000_000, "$data/extra/large.bin";
	spew("$place/dir/inside", 'behind a link');
	spew("$place/dir/sub/empty", '');
	spew("$place/etc/custom.conf", "# a linked file\n");
	symlink "$place/dir", "$data/extlink" or die "symlink: $!";
	symlink "$place/etc/custom.conf", "$data/custom.conf" or die "symlink: $!";
}

my %running;

# start_background(STANZA, ARGUMENT...): run in the background, in a process group of its own that ends with the test,
# with output to a file.  Returns the process.
sub start_background {
	my ($stanza, @arguments) = @_;
	PgStrata::at_end(\&end_all) if !%running;
	my $log = work_dir() . '/background.log';
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		setpgrp 0, 0;
		open(STDOUT, '>', $log) && open(STDERR, '>&', \*STDOUT) && open(STDIN, '<', '/dev/null')
			or POSIX::_exit(126);
		exec { $stanza->{program} } $stanza->command(@arguments) or POSIX::_exit(127);
	}
	setpgrp $pid, $pid;
	$running{$pid} = $log;
	return $pid;
}

# Wait for its end: its exit code, as from run_command, and what it printed.  Helpers that it left are killed.
sub end_background {
	my ($pid) = @_;
	waitpid $pid, 0;
	my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	kill 'KILL', -$pid;
	return ($code, slurp(delete $running{$pid}));
}

sub end_all {
	for my $pid (keys %running) {
		kill 'KILL', -$pid;
		waitpid $pid, 0;
	}
}

# A test point: a backup by this program succeeds; its label.
sub backup_by {
	my ($stanza, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $out = $stanza->run_ok('backup', @options, { like => qr/new backup label = \S+/ });
	my ($label) = $out =~ /new backup label = (\S+)/;
	return $label // die "no backup\n";
}

# Releases before 2.60 do not know of restore locks.
sub info_json {
	my ($stanza, @options) = @_;
	my ($code, $out, $err) = $stanza->run('info', '--output=json', '--log-level-console=off', @options);
	die "info: exit $code\n$out$err" if $code;
	$out =~ s/,"restore":\{"held":false\}//g;
	return $out;
}

# A test point: both programs print the same JSON, byte for byte.
sub same_info {
	my ($ours, $theirs, $name, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(info_json($ours, @options), info_json($theirs, @options), "$name: info --output=json @options");
}

# Old releases print no time zone, round sizes, and list references where newer ones print how many there are; the JSON
# has all of that too.
sub info_text {
	my ($stanza, @options) = @_;
	my ($code, $out, $err) = $stanza->run('info', '--log-level-console=off', @options);
	die "info: exit $code\n$out$err" if $code;
	if (!pgbackrest_since('2.60')) {
		$out =~ s/\b\d+(\.\d)?([KMG]?B)\b/N$2/g;
		$out =~ s/(\d\d:\d\d:\d\d)[+-]\d\d(?::\d\d)?/$1/g;
		$out =~ s/^ *backup reference total: .*\n//mg;
		$out =~ s/^ *backup reference list: .*\n//mg if !grep { /^--set/ } @options;
	}
	return $out;
}

# A test point: both programs print the same text.
sub same_info_text {
	my ($ours, $theirs, $name, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(info_text($ours, @options), info_text($theirs, @options), "$name: info @options");
}

# Empty folder for a restore; then restore into it, a test point.  PLACES: tablespaces, emptied too.
sub restore_to {
	my ($stanza, $data, @options) = @_;
	remove_tree($data);
	mkdir $data, 0700 or die "mkdir $data: $!";
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stanza->run_ok('restore', "--pg1-path=$data", @options);
}

# What pg_control holds, without its checkpoint and checksum: 2.60 and pgStrata make the checkpoint impossible,
# older releases leave it.  The bytes behind the first 512 mean nothing but are part of it.
sub control_masked {
	my ($bytes) = @_;
	return 'wrong size ' . length $bytes if length $bytes != 8192;
	substr($bytes, 32, 8) = "\0" x 8;
	substr($bytes, 284, 12) = "\0" x 12;
	return sha1_hex($bytes);
}

# restored_tree(DATA): a snapshot of a restored cluster with what its links lead to and the times of its files.  Left
# out: recovery.signal, which 2.45 makes even for type none; the time of postgresql.auto.conf, which both write anew.
sub restored_tree {
	my ($data) = @_;
	my $tree = snapshot($data, ignore => qr/^recovery\.signal$/);
	for my $link (grep { $tree->{$_} =~ /^l / } keys %$tree) {
		my $behind = snapshot("$data/$link" . (-d "$data/$link" ? '/.' : ''));
		$tree->{"$link/$_"} = $behind->{$_} for keys %$behind;
		$tree->{"$link/."} = snapshot(readlink "$data/$link")->{'.'} if -f "$data/$link";
	}
	for my $name (grep { $tree->{$_} =~ /^f / } keys %$tree) {
		next if $name =~ m{^(postgresql\.auto\.conf|global/pg_control)$};
		$tree->{$name} .= ' ' . ((stat "$data/$name")[9] // 'a linked file');
	}
	$tree->{'global/pg_control'} =~ s/\S+$/control_masked(slurp("$data\/global\/pg_control"))/e;
	return $tree;
}

# stored_segments(STANZA): path of each stored WAL segment by its name.
sub stored_segments {
	my ($stanza) = @_;
	my %segment;
	for my $file (glob $stanza->path('repo', 'archive', $stanza->name) . '/*/' . '?' x 16 . '/*') {
		$segment{$1} = $file if $file =~ m{/([0-9A-F]{24})-[0-9a-f]{40}(\.\w+)?$};
	}
	return \%segment;
}

# A line of an info file: key and value, parted by the first = that leaves valid JSON behind it.
sub key_and_value {
	my ($line) = @_;
	my $json = JSON::PP->new->utf8(0)->allow_nonref->loose;
	while ($line =~ /=/g) {
		my ($key, $value) = (substr($line, 0, pos($line) - 1), substr($line, pos $line));
		return ($key, $value) if eval { $json->decode($value); 1 };
	}
	die "not a line of an info file: $line\n";
}

# The checksum of a file in the grammar of backup.info, from its text, as the format describes it.
sub info_checksum {
	my ($text) = @_;
	my ($section, $fed, $stream) = ('', undef, '');
	for my $line (grep { length } split /\n/, $text) {
		if ($line =~ /^\[(.+)\]$/) {
			$section = $1;
			next;
		}
		my ($key, $value) = key_and_value($line);
		next if $key eq 'backrest-checksum';
		$key =~ s/(["\\])/\\$1/g;
		$stream .= defined $fed && $fed eq $section ? ',' : (defined $fed ? '},' : '') . "\"$section\":{";
		$stream .= "\"$key\":$value";
		$fed = $section;
	}
	return sha1_hex("{$stream}}");
}

# edit_info_file(FILE, CODE): CODE changes the text in $_, then the checksum is made right; the copy follows.
sub edit_info_file {
	my ($file, $edit) = @_;
	for ($file, "$file.copy") {
		my $path = $_;
		local $_ = slurp($path);
		$edit->();
		my $sum = info_checksum($_);
		s/^backrest-checksum=.*$/backrest-checksum="$sum"/m or die "$path has no checksum";
		spew($path, $_);
	}
}

1;
