# Restore by root: owners and groups come back by their names, whatever the umask; who is not known here becomes the
# owner of the data directory that is there, else root; pg_control belongs to who owns the rest (lessons F10); and
# PostgreSQL starts on it.  Run by root (test/run.sh does), so without PgStrata.pm, which refuses that.
use strict;
use warnings;
use Cwd qw(abs_path);
use Fcntl qw(:mode);
use File::Basename qw(dirname);
use File::Find ();
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;

my $lib = abs_path(dirname(__FILE__) . '/../lib');
my ($bin) = map { dirname($_) } reverse glob '/usr/lib/postgresql/*/bin/initdb';
my $program = abs_path($ENV{PGSTRATA} // ($ENV{builddir} // "$lib/../../build") . '/pgstrata');
my ($postgres, $postgres_group) = (getpwnam 'postgres')[2, 3];
my ($daemon, $daemon_group) = (getpwnam 'daemon')[2, 3];

plan(skip_all => 'cannot here: not root') if $> != 0;
plan(skip_all => 'no PostgreSQL server with its user postgres') if !$bin || !defined $postgres;
plan(skip_all => "no program at $program: build it, or set PGSTRATA") if !-x $program;
Test::More->builder->failure_output(\*STDOUT);
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 143 };

my $dir = abs_path(tempdir('pgs-XXXXXX', DIR => $ENV{TMPDIR} // '/tmp'));
my $owner = $$;
my ($source, $target, $config) = ("$dir/user/source", "$dir/target", "$dir/pgbackrest.conf");
END {
	if (defined $dir && $$ == $owner) {
		my $status = $?;
		as_postgres("$bin/pg_ctl", '-D', $_, qw(-w -s -m immediate stop)) for grep { -e "$_/postmaster.pid" } $source, $target;
		chdir '/';
		remove_tree($dir);
		$? = $status;
	}
}

# Exit code and output of a command, as root with an umask or as postgres.
sub run_here {
	my ($prepare, @command) = @_;
	my $pid = open(my $out, '-|') // die "fork: $!";
	if ($pid == 0) {
		$prepare->();
		open(STDERR, '>&', \*STDOUT);
		exec { $command[0] } @command or print "$command[0]: $!\n";
		POSIX::_exit(127);
	}
	my $text = do { local $/; <$out> } // '';
	close $out;
	return ($? & 127 ? 128 + ($? & 127) : $? >> 8, $text);
}
sub as_postgres { return run_here(sub { chdir '/'; umask 022 }, qw(setpriv --reuid=postgres --regid=postgres --init-groups), @_) }

sub must {
	my ($code, $text) = @_;
	die "exit $code\n$text" if $code;
	return $text;
}

sub program {
	my ($umask, @words) = @_;
	return run_here(sub { umask $umask }, $program, "--config=$config", '--stanza=demo', @words);
}

sub spew {
	my ($file, $text) = @_;
	open(my $out, '>', $file) or die "$file: $!";
	print $out $text;
	close $out or die "$file: $!";
}

# "type mode uid:gid" of everything below.
sub owners {
	my ($place) = @_;
	my %found;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my ($mode, $uid, $gid) = (lstat)[2, 4, 5];
		my $name = $_ eq $place ? '.' : substr $_, 1 + length $place;
		$found{$name} = sprintf '%s %04o %d:%d', S_ISDIR($mode) ? 'd' : S_ISLNK($mode) ? 'l' : 'f', S_IMODE($mode), $uid, $gid;
	} }, $place);
	return \%found;
}

# A test point: the restored tree has the types, modes and owners of the source, where OTHER says nothing else.
sub same_owners {
	my ($name, %other) = @_;
	my ($is, $should) = (owners($target), owners($source));
	delete $is->{'postmaster.opts'};
	delete $should->{$_} for grep { m{^pg_subtrans/.} } keys %$should; # no part of a backup
	for my $file (keys %other) {
		$should->{$file} =~ s/ \d+:\d+$/ $other{$file}/ or die;
	}
	my @wrong = map { "$_: " . ($is->{$_} // 'missing') . ' instead of ' . ($should->{$_} // 'nothing') }
		grep { ($is->{$_} // '') ne ($should->{$_} // '') } sort keys %{{ %$is, %$should }};
	splice @wrong, 20 if @wrong > 20;
	return ok(!@wrong, "$name: owners and modes") || diag(join "\n", @wrong);
}

# --- a backup made by postgres, with owners of every kind ---

chmod 0755, $dir;
make_path("$dir/user");
chown $postgres, $postgres_group, "$dir/user";
must(as_postgres("$bin/initdb", '-D', $source, qw(-U postgres -A trust -N --wal-segsize=1)));
must(as_postgres('mkdir', "$source/extra", "$source/extra/shared", map { "$dir/user/$_" } qw(repo log lock)));
spew("$source/extra/$_", $_) for qw(daemon false unknown open closed);
chown $postgres, $postgres_group, map { "$source/extra/$_" } qw(false unknown open closed);
chown $daemon, $daemon_group, "$source/extra/daemon";
chmod 0644, "$source/extra/daemon";
chmod 0666, "$source/extra/open";
chmod 0400, "$source/extra/closed";
chmod 0750, "$source/extra/shared";
spew($config, "[global]\nrepo1-path=$dir/user/repo\nlog-path=$dir/user/log\nlock-path=$dir/user/lock\n"
	. "log-level-console=detail\nlog-level-file=off\n[demo]\npg1-path=$source\n");
must(as_postgres($program, "--config=$config", '--stanza=demo', @$_))
	for [ qw(stanza-create --no-online) ], [ qw(backup --no-online --type=full) ];
must(as_postgres($^X, "-I$lib", '-MPgStrata', '-MPgStrata::Interop', '-e', <<'END', glob "$dir/user/repo/backup/demo/*F/backup.manifest"));
edit_info_file($ARGV[0], sub {
	s(^pg_data/extra/unknown=\{\K)("group":"no-such-group",)m or die;
	s(^(pg_data/extra/unknown=.*)\}$)($1,"user":"no/such/user"})m or die;
	s(^pg_data/extra/false=\{\K)("group":false,)m or die;
	s(^(pg_data/extra/false=.*)\}$)($1,"user":false})m or die;
});
END

# --- restored by root ---

for my $umask (077, 0) {
	my $name = sprintf 'umask %03o', $umask;
	remove_tree($target);
	my ($code, $out) = program($umask, 'restore', "--pg1-path=$target");
	is($code, 0, "$name: restore into nothing") or diag($out);
	like($out, qr/WARN: unknown user 'no\/such\/user' in backup manifest mapped to/, "$name: who is not known is told");
	same_owners("$name, into nothing", 'extra/unknown' => '0:0', 'extra/false' => '0:0');

	remove_tree($target);
	mkdir $target, 0755 or die "mkdir: $!";
	chown $daemon, $daemon_group, $target;
	($code, $out) = program($umask, 'restore', "--pg1-path=$target");
	is($code, 0, "$name: restore into an empty directory of somebody's") or diag($out);
	same_owners("$name, into somebody's", map { ("extra/$_" => "$daemon:$daemon_group") } qw(unknown false));
}
my ($control) = owners("$target/global")->{pg_control};
is($control, "f 0600 $postgres:$postgres_group", 'pg_control belongs to postgres');

sub starts {
	my ($name) = @_;
	my ($code, $out) = as_postgres("$bin/pg_ctl", '-D', $target, '-l', "$dir/user/server.log", qw(-w -s -t 60), '-o',
		"-k $dir/user -c listen_addresses='' -c fsync=off", 'start');
	ok($code == 0, "$name: PostgreSQL starts") or diag($out, -e "$dir/user/server.log" ? `tail -n 20 $dir/user/server.log` : '');
	my $rows = (as_postgres("$bin/psql", qw(-XAtq -U postgres -h), "$dir/user", '-c', 'SELECT count(*) > 0 FROM pg_class'))[1];
	is($rows, "t\n", "$name: and answers");
	must(as_postgres("$bin/pg_ctl", '-D', $target, qw(-w -s -m fast stop)));
}
starts('restored by root');

# --- what stands there with wrong owners and modes ---

chown 0, 0, map { "$target/$_" } qw(global/pg_control PG_VERSION base base/1 extra extra/open);
chmod 0600, "$target/extra/open", "$target/extra/daemon";
chmod 0, "$target/extra/closed", "$target/base";
my ($code, $out) = program(077, 'restore', "--pg1-path=$target", '--delta');
is($code, 0, 'restore --delta') or diag($out);
same_owners('delta', map { ("extra/$_" => "$postgres:$postgres_group") } qw(unknown false));
starts('restored again');

done_testing();
