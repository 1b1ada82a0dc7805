# annotate: each repository gets its own notes and nothing else; what cannot be stored is refused before anything is
# changed.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP ();
use PgStrata;
use PgStrata::Interop qw(edit_info_file);
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($data, $repo2) = map { work_dir() . "/$_" } qw(little repo2);
make_path("$data/global");
cp($pg->data . "/$_", "$data/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { demo => { 'pg1-path' => $data }, global => {
	'repo2-path' => $repo2, 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'a # secret; "pass"' } });
my $repo1 = $stanza->path('repo');
my $lock = $stanza->path('lock');
my $info1 = "$repo1/backup/demo/backup.info";

sub backup {
	sleep 1; # labels have seconds, and here no two repositories shall have the same
	my $out = $stanza->run_ok('backup', '--no-online', '--type=full', @_);
	return $out =~ /new backup label = (\S+)/ ? $1 : die "no label\n";
}
$stanza->run_ok('stanza-create', '--no-online');
my $one = backup('--repo=1', '--annotation=made=by backup', '--annotation=empty=');
my $two = backup('--repo=2');
my $three = backup('--repo=1');

# The notes of a backup in a repository as info tells them.
sub notes {
	my ($label, $key) = @_;
	my ($found) = grep { $_->{label} eq $label && $_->{database}{'repo-key'} == $key } @{$stanza->info->[0]{backup}};
	return $found ? $found->{annotation} // {} : undef;
}
# Everything in the repositories; and only the names of what differs.
sub everything { return { map { my $n = $_; my $tree = snapshot($n); map { ("$n/$_" => $tree->{$_}) } keys %$tree } $repo1, $repo2 } }
sub changed { my ($before) = @_; return join ' ', map { /^(\S+): / ? $1 =~ s{^.*/(repo2?/)}{$1}r : $_ } tree_diff($before, everything()) }
my @files1 = ('repo/backup/demo/backup.info', 'repo/backup/demo/backup.info.copy');
my @files2 = ('repo2/backup/demo/backup.info', 'repo2/backup/demo/backup.info.copy');

is_deeply(notes($one, 1), { made => 'by backup' }, 'what backup noted; an empty value is none');

# --- notes come, change and go ---

sub annotate {
	my ($label, @more) = @_;
	my $how = ref $more[-1] ? pop @more : {};
	return $stanza->run_ok('annotate', "--set=$label", @more, $how);
}
my $before = everything();
my $others = slurp($info1);
annotate($one, '--annotation=key=value', '--annotation=a=b=c', { like => qr/^P00   INFO: backup set '$one' to annotate found in repo1$/m, unlike => qr/found in repo2/ });
is_deeply(notes($one, 1), { made => 'by backup', key => 'value', a => 'b=c' }, 'added');
is(changed($before), "@files1", 'only the index of repo1 changed');
my @line = map { /^(\Q$one\E=.*)$/m } $others, scalar slurp($info1);
is($line[1] =~ s/"backup-annotation":\{[^}]*\},?//r, $line[0] =~ s/"backup-annotation":\{[^}]*\},?//r, 'and of the backup only its notes');
is((slurp($info1) =~ /^(\Q$three\E=.*)$/m)[0], ($others =~ /^(\Q$three\E=.*)$/m)[0], 'and no other backup');
like(slurp($info1), qr/"backup-annotation":\{"a":"b=c","key":"value","made":"by backup"\}/, 'in order');
like(slurp("$repo1/backup/demo/$one/backup.manifest"), qr/^annotation=\{"made":"by backup"\}$/m, 'the manifest keeps those of the backup');
$before = everything();
annotate($two, '--annotation=in=two', { like => qr/found in repo2/, unlike => qr/found in repo1/ });
is(changed($before), "@files2", 'repo2 gets its own, repo1 is left alone');
is_deeply([ notes($two, 2), notes($one, 1) ], [ { in => 'two' }, { made => 'by backup', key => 'value', a => 'b=c' } ], 'nothing is mixed');
annotate($one, '--annotation=key=other', '--annotation=a=', '--annotation=new=1', '--annotation=never=');
is_deeply(notes($one, 1), { made => 'by backup', key => 'other', new => '1' }, 'changed and removed');
annotate($one, '--annotation=key=', '--annotation=new=', '--annotation=made=');
is_deeply(notes($one, 1), {}, 'all removed');
unlike(slurp($info1), qr/annotation/, 'without a trace');
$before = slurp($info1);
annotate($one, '--annotation=never=', { name => 'nothing to remove' });
is(slurp($info1), $before, 'the same text');
my %odd = ('x' x 66 => 'long', "caf\xc3\xa9" => "\"\\\xe2\x82\xac", 'white space' => " two\nlines\tand tab ", '[s]' => '#', "'" => '%s {"a":1}');
annotate($one, (map { "--annotation=$_=$odd{$_}" } sort keys %odd), { name => 'odd names and values' });
my $got = notes($one, 1);
utf8::encode($_) for my @names = keys %$got;
my %bytes = map { my ($k, $v) = ($_, $got->{$_}); utf8::encode($k); utf8::encode($v); ($k => $v) } keys %$got;
is_deeply(\%bytes, \%odd, 'come back as they are');
annotate($one, map { "--annotation=$_=" } keys %odd);
is_deeply(notes($one, 1), {}, 'and go');

# --- what is refused, with nothing changed ---

$before = everything();
my $label_form = sub { return qr/^P00  ERROR: \[032\]: '\Q$_[0]\E' is not a valid backup label format$/m };
$stanza->run_fail('annotate', "--set=$_", '--annotation=a=b', { code => 32, name => "label '$_'", like => $label_form->($_) })
	for 'x', 'latest', "../$one", substr($one, 0, 15), "${one}_";
$stanza->run_fail('annotate', "--set=$one", { code => 37, name => 'no note', like => qr/\[037\]: annotate command requires option: annotation/ });
$stanza->run_fail('annotate', '--annotation=a=b', { code => 37, name => 'no backup', like => qr/\[037\]: annotate command requires option: set/ });
$stanza->run_fail('annotate', "--set=$one", '--annotation=a', { code => 31, name => 'no value', like => qr/\[031\]: key\/value 'a' not valid for 'annotation' option/ });
for my $name ('', 'x' x 67, 'a"b', 'a\\b', "a\nb", "a\tb", "\x01") {
	my $shown = $name =~ s/[^ -~]/?/gr;
	$stanza->run_fail($_->[0], @$_[1 .. $#$_], "--annotation=good=1", "--annotation=$name=v", { code => 32, name => "$_->[0]: the name '$shown' cannot be stored",
		like => qr/is not valid for 'annotation' option\n.*HINT: the name of a note has 1 to 66 bytes/ }) for [ 'annotate', "--set=$one" ], [ 'backup', '--no-online', '--repo=1' ];
}
$stanza->run_fail('annotate', '--set=20200101-000000F', '--annotation=a=b', { code => 75, name => 'an unknown backup', like => qr/\[075\]: no backup set to annotate found/ });
$stanza->run_fail('annotate', "--set=$one", '--annotation=a=b', '--repo=2', { code => 75, name => 'not in this repository', like => qr/\[075\]: no backup set/ });
is(changed($before), '', 'all of that changed nothing');

# --- the same label in several repositories ---

my $repo3 = work_dir() . '/repo3';
run_command([ 'cp', '-a', $repo1, $repo3 ]);
$stanza->set(global => { 'repo3-path' => $repo3 });
annotate($one, '--annotation=both=y', { like => qr/found in repo1\n.*found in repo3\n/s });
is_deeply([ notes($one, 1), notes($one, 3) ], [ { both => 'y' }, { both => 'y' } ], 'each has it');
annotate($one, '--annotation=third=y', '--repo=3');
is_deeply([ notes($one, 1), notes($one, 3) ], [ { both => 'y' }, { both => 'y', third => 'y' } ], 'only the one that is named');
annotate($one, '--annotation=both=n', { name => 'each keeps its own' });
is_deeply([ notes($one, 1), notes($one, 3) ], [ { both => 'n' }, { both => 'n', third => 'y' } ], 'each keeps its own');

# One fails, the others do not wait for it.
my @unreadable = glob "$repo1/backup/demo/backup.info*";
chmod 0, @unreadable;
my $failed = qr/ERROR: \[041\]: repo1: unable to load info file .*Permission denied.*ERROR: \[104\]: annotate command encountered 1 error\(s\), check the log file for details/s;
$stanza->run_fail('annotate', "--set=$one", '--annotation=late=1', { code => 104, name => 'one repository fails', like => $failed });
$stanza->run_fail('annotate', "--set=$two", '--annotation=late=1', { code => 104, name => 'another one', like => $failed });
$stanza->run_fail('annotate', '--set=20200101-000000F', '--annotation=late=1', { code => 104, name => 'unknown is not absent', like => $failed });
chmod 0640, @unreadable;
is_deeply([ map { $_->{late} } notes($one, 1), notes($two, 2), notes($one, 3) ], [ undef, 1, 1 ], 'the others have their notes');
$stanza->run_fail('annotate', "--set=$one", '--annotation=late=1', '--repo2-cipher-type=none', { name => 'an encrypted index is not taken for a plain one', code => 104 });
is(notes($two, 2)->{late}, 1, 'it is still there');
rename "$repo3/backup/demo", "$repo3/backup/hidden";
$stanza->run_fail('annotate', "--set=$one", '--annotation=late=2', { code => 104, name => 'a repository without the stanza',
	like => qr/\[055\]: repo3: unable to load info file .*HINT: backup\.info cannot be opened.*\[104\]/s });
rename "$repo3/backup/hidden", "$repo3/backup/demo";
is_deeply([ map { $_->{late} } notes($one, 1), notes($one, 3) ], [ 2, 1 ], 'the first has its note');
$stanza->set(global => { 'repo3-path' => undef });

# --- the index is made right first ---

edit_info_file($info1, sub { s/^\Q$one\E=.*\n//m });
is(join(' ', $stanza->labels), "$two $three", 'a backup that is not listed');
annotate($one, '--annotation=a=b', { like => qr/WARN: backup '$one' found in repository added to backup\.info/ });
is_deeply(notes($one, 1), { made => 'by backup', a => 'b' }, 'has the notes of its manifest and the new one');
rename "$repo1/backup/demo/$three/backup.manifest", "$repo1/backup/demo/$three/hidden" or die;
annotate($one, '--annotation=c=d', { like => qr/WARN: backup '$three' missing manifest removed from backup\.info/ });
$stanza->run_fail('annotate', "--set=$three", '--annotation=a=b', { code => 75, name => 'a backup without a manifest is none' });
rename "$repo1/backup/demo/$three/hidden", "$repo1/backup/demo/$three/backup.manifest" or die;
annotate($three, '--annotation=back=again');
is_deeply([ notes($one, 1), notes($three, 1) ], [ { made => 'by backup', a => 'b', c => 'd' }, { back => 'again' } ], 'it is back');
unlink $info1;
annotate($one, '--annotation=e=f', { name => 'only the copy is there' });
is(slurp($info1), slurp("$info1.copy"), 'both are there again');

# --- who else works ---

spew("$lock/demo.stop");
annotate($one, '--annotation=g=h', { name => 'the stop file does not count' });
unlink "$lock/demo.stop";
{
	open(my $held, '>', "$lock/demo-backup-2.lock") or die;
	flock $held, LOCK_EX or die;
	$stanza->run_fail('annotate', "--set=$one", '--annotation=a=c', { code => 50, name => 'somebody works with a repository',
		like => qr/\[050\]: unable to acquire lock on file '.*demo-backup-2\.lock': Resource temporarily unavailable\n\s+HINT: is another/ });
	annotate($one, '--annotation=a=c', '--repo=1', { name => 'but not with this one' });
}
my @running = map { spawn_command([ $stanza->command('annotate', "--set=$one", "--annotation=n$_=$_", '--repo=1') ]) } 1 .. 12;
push @running, spawn_command([ $stanza->command('backup', '--no-online', '--type=full', '--repo=1') ]);
my %code;
for my $n (1 .. @running) {
	my ($code, $said) = reap($running[$n - 1], 60);
	$code{$n} = $code;
	like($said, qr/\[050\]: unable to acquire lock/, "number $n was told to wait") if $code;
}
is_deeply([ grep { $_ != 0 && $_ != 50 } values %code ], [], 'many at once: each succeeds or is told that another works');
my $notes = notes($one, 1);
is(join(' ', map { $_ =~ /^n(\d+)$/ ? $1 : () } sort keys %$notes), join(' ', sort { "n$a" cmp "n$b" } grep { $code{$_} == 0 && $_ <= 12 } keys %code),
	'every one that succeeded left its note');
is(scalar(grep { notes($_, 1) } $one, $three), 2, 'no backup is lost');
is(scalar($stanza->labels), $code{13} == 0 ? 4 : 3, 'the new backup is listed if it succeeded');

done_testing();
