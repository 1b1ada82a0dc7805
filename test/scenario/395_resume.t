# Lesson I1: full backups are killed at random moments, then the cluster changes (pages under the same size and time, files
# deleted, added, grown, replaced) and what the killed run stored is damaged or replaced by links, folders and pipes.
# The next backup goes on with what is proven and only with that: what it restores to is the cluster as it is then.
# All codecs, plain and encrypted, files and bundles; runs that resume are killed too; options change in between.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Find ();
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop qw(codecs codec_suffix);
use PgStrata::Recovery qw(copy_tree);
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{ROUNDS} // (deep_run() ? 1000 : full_run() ? 200 : 25);
my $seed = $ENV{SEED} // time ^ $$;
srand $seed;
diag("SEED=$seed");

# --- a cluster without a server ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $data = work_dir() . '/small';
make_path(map { "$data/$_" } qw(global base/1 base/5 pg_wal deep/er));
cp($pg->data . "/$_", "$data/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
chmod 0700, $data;
my $long_ago = int(time) - 100_000;

sub text { my ($size) = @_; my $word = join '', map { chr 32 + rand 90 } 1 .. 50; return substr($word x ($size / 50 + 1), 0, $size) }
sub noise { my ($size) = @_; return pack 'N*', map { rand 2 ** 32 } 1 .. $size / 4 }
sub write_file {
	my ($name, $content, $time) = @_;
	unlink "$data/$name";
	spew("$data/$name", $content);
	utime $time, $time, "$data/$name" or die "utime: $!";
}
sub some_size { return (0, 1, 8192, 8192 * (1 + int rand 8), 4 * int(rand 40_000), 200_000 + 4 * int rand 30_000)[rand 6] }
my $names = 0;
sub new_file {
	my $name = (qw(base/1 base/5 deep/er global))[rand 4] . '/' . (16384 + ++$names);
	my $size = some_size();
	write_file($name, rand() < 0.5 ? text($size) : noise($size), $long_ago + int rand 1000);
}
new_file() for 1 .. 45;
# larger than what is held back until it is compared
write_file('deep/er/large', text(5_000_000), $long_ago);

sub files_of { my @files; File::Find::find({ no_chdir => 1, wanted => sub { push @files, $_ if -f && !-l && !/pg_control|PG_VERSION|base\.copy/ } }, @_); return sort @files }
sub one_of { return $_[rand @_] }

# What happens to the cluster between two runs.
my %change = (
	page => sub { # the same size, the same time
		my ($file) = @_;
		my ($size, $time) = (stat $file)[7, 9];
		return if !$size;
		my $content = slurp($file);
		substr($content, int(rand $size), 1) ^= chr 1 + int rand 255;
		open(my $out, '+<:raw', $file) or die;
		print $out $content;
		close $out;
		utime $time, $time, $file;
	},
	delete => sub { unlink $_[0] },
	touch => sub { utime $long_ago + 5000, $long_ago + 5000, $_[0] },
	grow => sub { my $time = (stat $_[0])[9]; open(my $out, '>>:raw', $_[0]) or die; print $out noise(8192); close $out; utime $time, $time, $_[0] },
	cut => sub { my ($size, $time) = (stat $_[0])[7, 9]; truncate_file($_[0], int($size / 2)); utime $time, $time, $_[0] },
	replace => sub { # another file of the same size and time
		my ($file) = @_;
		my ($size, $time) = (stat $file)[7, 9];
		unlink $file;
		spew($file, substr(noise($size + 4), 0, $size));
		utime $time, $time, $file;
	},
	folder => sub { my $time = (stat $_[0])[9]; unlink $_[0]; mkdir $_[0], 0700; spew("$_[0]/below", text(5000)) },
	add => sub { new_file() },
);
sub change_cluster {
	my @files = files_of($data);
	for (1 .. rand 8) {
		my $what = one_of(qw(page page page delete touch grow cut replace folder add add add));
		my $file = one_of(grep { -f } @files);
		$change{$what}->($file) if $file ne "$data/deep/er/large" || $what =~ /page|touch|replace/;
	}
}

# --- and what becomes of what was stored ---

my $victim = work_dir() . '/victim';
my %damage = (
	flip => sub { flip_bit($_[0], int rand -s $_[0], int rand 8) if -s $_[0] },
	truncate => sub { truncate_file($_[0], int((-s $_[0]) / 2)) },
	empty => sub { truncate_file($_[0], 0) },
	append => sub { open(my $out, '>>:raw', $_[0]) or die; print $out 'x' },
	other => sub { my $size = -s $_[0]; spew($_[0], 'y' x $size) if $size },
	gone => sub { unlink $_[0] },
	link => sub { unlink $_[0]; symlink $victim, $_[0] or die },
	same_link => sub { rename $_[0], "$_[0].away" and symlink "$_[0].away", $_[0] or die },
	dangling => sub { unlink $_[0]; symlink '/nonexistent/x', $_[0] or die },
	folder => sub { unlink $_[0]; mkdir $_[0] or die; spew("$_[0]/x", 'x') },
	hard_link => sub { unlink "$victim.2"; link $_[0], "$victim.2" or die },
	victim_link => sub { unlink $_[0]; link $victim, $_[0] or die },
	pipe => sub { unlink $_[0]; POSIX::mkfifo($_[0], 0600) or die },
	foreign => sub { spew("$_[0].foreign", 'f'); spew("$_[0].pgbackrest.tmp", 't') },
	foreign_folder => sub { (my $dir = $_[0]) =~ s{/[^/]*$}{/foreign}; mkdir $dir; spew("$dir/f", 'f') },
	linked_folder => sub { # a folder of the backup lies elsewhere now
		(my $dir = $_[0]) =~ s{/[^/]*$}{};
		return if $dir =~ m{pg_data$};
		remove_tree("$victim.d");
		rename $dir, "$victim.d" and symlink "$victim.d", $dir or die "$dir: $!";
	},
	other_file => sub { my $other = one_of(files_of($_[1])); cp($other, $_[0]) if $other ne $_[0] },
);
sub damage_leftover {
	my ($dir) = @_;
	my %did;
	for (1 .. rand 5) {
		my @stored = grep { !/backup\.manifest/ } files_of($dir);
		last if !@stored;
		my $what = one_of(sort keys %damage);
		$damage{$what}->(one_of(@stored), $dir);
		$did{$what} = 1;
	}
	return %did;
}

# --- rounds ---

my %place;
for my $how ('plain', 'aes') {
	my $stanza = PgStrata::Stanza->new(id => $how, cluster => $pg, options => { global => { 'repo1-retention-full' => 9,
		$how eq 'aes' ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'secret') : () } });
	$stanza->set(demo => { 'pg1-path' => $data });
	$stanza->run_ok('stanza-create', '--no-online');
	copy_tree($stanza->path('repo'), $stanza->path('empty'));
	$place{$how} = $stanza;
}

my @always = ('--no-online', '--type=full', '--manifest-save-threshold=1', '--no-expire-auto');
my %count;

sub leftover { my ($dir) = grep { -d && !-l && /F$/ && !-e "$_/backup.manifest" } glob $_[0]->path('repo/backup/demo/2*'); return $dir }

# One run that is killed once some of the files are done.
sub kill_one {
	my ($how, @options) = @_;
	my @files = files_of($data);
	my ($code, $output) = kill_after(spawn_command([ $place{$how}->command('backup', @always, @options) ]),
		qr/backup file|resumed file/, 1 + int rand 0.7 * @files);
	$count{killed}++ if $code == 128 + 9;
	$count{resumed} += () = $output =~ /checksum resumed file/g;
	die "killed run: $code\n$output" if $code != 0 && $code != 128 + 9;
}

my @codec = codecs();
sub round {
	my ($round) = @_;
	my $how = $round % 2 ? 'plain' : 'aes';
	my $stanza = $place{$how};
	remove_tree($stanza->path('repo'));
	copy_tree($stanza->path('empty'), $stanza->path('repo'));
	spew($victim, 'must not change' x 100);
	my $codec = $codec[$round / 2 % 5];
	my @options = ("--compress-type=$codec", $round % 3 ? () : ('--repo1-bundle', '--repo1-bundle-limit=20KiB', '--repo1-bundle-size=1MiB'),
		'--process-max=' . (1 + int rand 3), rand() < 0.3 ? '--checksum-page' : ());
	my $name = "round $round, $how @options";
	kill_one($how, @options);
	if (rand() < 0.3) {
		change_cluster();
		kill_one($how, @options);
		$name .= ', killed twice';
	}
	if (rand() < 0.2) {
		my $other = one_of("--compress-type=" . one_of(@codec), '--repo1-bundle', '--no-repo1-bundle', '--no-resume', '--delta',
			$codec eq 'none' ? () : '--compress-level=1');
		my ($same) = $other =~ /(compress-type|repo1-bundle)/;
		@options = ((grep { !defined $same || !/$same/ } @options), $other);
		$name .= ", then $other";
	}
	change_cluster();
	my $dir = leftover($stanza);
	my %did = $dir ? damage_leftover($dir) : ();
	my $elsewhere = slurp($victim);
	my ($code, $out, $err);
	# workers that end a moment later still hold the lock
	wait_until(sub { ($code, $out, $err) = $stanza->run('backup', @always, @options); $code != 50 });
	my @wrong;
	push @wrong, "exit $code" if $code;
	my $kept = () = $out =~ /checksum resumed file/g;
	$count{resumed} += $kept;
	$count{rounds}++ if $kept;
	$count{bad} += () = $out =~ /WARN: resumed backup file \S+ did not have expected checksum [0-9a-f]{40}$/mg;
	$count{$_} += () = $out =~ /from resumed backup \($_\)/g for 'mismatched size', 'mismatched timestamp', 'missing in manifest',
		'no checksum in resumed manifest', 'mismatched repository size', 'hard link';
	push @wrong, 'it resumes what was not to be resumed' if $kept && $name =~ /--no-resume/;
	my ($label) = $out =~ /new backup label = (\S+)/;
	push @wrong, "label $label instead of that of $dir" if !$code && $kept && $dir !~ m{/$label$};
	push @wrong, 'what a link led to was changed' if slurp($victim) ne $elsewhere;
	my $want = snapshot($data);
	my $to = work_dir() . '/restored';
	remove_tree($to);
	if (!$code) {
		($code, my $out2, my $err2) = $stanza->run('restore', "--pg1-path=$to", '--type=none');
		push @wrong, "restore: exit $code\n$out2$err2" if $code;
		my $got = $code ? {} : snapshot($to, ignore => qr/^(postgresql\.auto\.conf|tablespace_map)$/);
		$_->{'global/pg_control'} =~ s/\S+$// for grep { $_->{'global/pg_control'} } $want, $got;
		my @different = tree_diff($want, $got);
		push @wrong, 'restored otherwise:', splice @different, 0, 10 if @different;
	}
	if (!@wrong && ($round % 10 == 0 || %did)) {
		($code, my $report, my $problems) = $stanza->run('verify');
		push @wrong, "verify: exit $code\n$report$problems" if $code;
	}
	ok(!@wrong, $name . ($dir ? '' : ' (nothing left)')) or diag(join "\n", "SEED=$seed", @wrong, join(' ', sort keys %did), $out // '', $err // '');
}
round($_) for 1 .. $rounds;

diag(join ', ', map { "$_: $count{$_}" } sort keys %count);
cmp_ok($count{killed} // 0, '>=', $rounds / 2, 'enough of the kills hit');
cmp_ok($count{rounds} // 0, '>=', $rounds / 8, 'enough of the backups were resumed');
cmp_ok($count{resumed} // 0, '>=', $rounds, 'and many files');
cmp_ok($count{'mismatched size'} // 0, '>', 0, 'some had another size') if $rounds >= 200;
cmp_ok($count{bad} // 0, '>', 0, 'some stored files were found damaged') if $rounds >= 200;
done_testing;
