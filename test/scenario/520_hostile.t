# A peer with a valid key that does what it can: through a real sshd, with a forced command for each role, requests that no caller of
# ours would send.  None changes what was accepted, none gets a byte from outside its stanza or its data directory; the server
# answers in order or ends, in time, with a code of its own, and leaves neither a half-written file nor a process.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Sshd;
use PgStrata::Wire;
use Test::More;
use Time::HiRes qw(time);

need_sshd();
my $canary = 'CANARY-7f3a91';
my $pass = "pass-$canary";
my ($repo, $repo2, $beside) = map { work_dir() . "/$_" } qw(repo repo2 beside);
make_path($repo, $repo2, "$beside/0000000200000000");

# --- a host with two clusters, two repositories, and something beside them ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'log_statement = all', 'autovacuum = off', 'archive_mode = on',
	"archive_command = 'true'" ]);
my $data = $pg->data;
my %repos = ('repo1-path' => $repo, 'repo2-path' => $repo2, 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => $pass,
	'repo1-bundle' => 'y', 'repo2-bundle' => 'y', map({ ("repo$_-retention-full" => 9) } 1, 2), 'compress-type' => 'none');
my $demo = PgStrata::Stanza->new(cluster => $pg, options => { global => { %repos, 'protocol-timeout' => '20s', 'db-timeout' => '10s' } });
my $elsewhere = work_dir() . '/elsewhere';
make_path("$elsewhere/global");
cp("$data/$_", "$elsewhere/$_") or die "$_: $!" for qw(PG_VERSION global/pg_control);
my $other = PgStrata::Stanza->new(id => 'other', name => 'other', options => { global => \%repos, other => { 'pg1-path' => $elsewhere } });
$demo->set(other => { 'pg1-path' => $elsewhere });
my ($first) = map { m{([0-9A-F]{24})$} } sort glob "$data/pg_wal/0*";
for my $stanza ($demo, $other) {
	$stanza->run_ok('stanza-create', '--no-online');
	$stanza->run_ok('archive-push', "$data/pg_wal/$first") if $stanza == $demo;
	$stanza->run_ok("--repo=$_", 'backup', '--no-online', '--type=full') for 1, 2;
}
my ($id) = map { m{/([^/]+)$} } grep { -d } glob "$repo/archive/demo/*";
my $folder = "archive/demo/$id/0000000100000000";
my ($stored) = map { m{/([^/]+)$} } glob "$repo/$folder/$first-*";
my ($label) = $demo->labels;
my $wal = slurp("$data/pg_wal/$first");
spew("$repo/archive/demo/$id/00000002.history", "1\t0/2000000\tno reason\n");
spew("$repo/archive/other/$id-$canary", $canary) for 1;
make_path("$repo/archive/other/$id/0000000100000000", "$repo/backup/other/$canary");
spew($_, $canary) for "$repo/archive/other/$id/0000000100000000/$first-" . 'a' x 40, "$repo/$canary", "$beside/secret",
	"$repo/backup/other/backup.info.$canary", "$repo/archive/demo-$canary";
spew("$beside/0000000200000000/0000000200000000000000AA-" . 'b' x 40, 'moved to another disk by the operator');
symlink "$beside/0000000200000000", "$repo/archive/demo/$id/0000000200000000" or die "symlink: $!";
my %links = ("0000000100000000000000C1-" . 'c' x 40 => "$beside/secret", "0000000100000000000000C2-" . 'c' x 40 => '/proc/self/environ',
	"0000000100000000000000C3-" . 'c' x 40 => '/etc/passwd', "0000000100000000000000C4-" . 'c' x 40 => "$beside/nowhere");
symlink $links{$_}, "$repo/$folder/$_" or die "symlink: $!" for keys %links;
symlink "$beside/secret", "$data/link-to-file" or die "symlink: $!";
symlink "$data/link-to-file", "$data/link-to-link" or die "symlink: $!";
make_path("$beside/dir");
symlink "$beside/secret", "$beside/dir/further" or die "symlink: $!";
symlink "$beside/dir", "$data/link-to-dir" or die "symlink: $!";
$pg->start;
$pg->psql("CREATE TABLE precious (id int)");

# --- three keys, a role each ---

my $sshd = PgStrata::Sshd->new(conf => [ 'AllowTcpForwarding yes', 'PermitTTY yes' ]);
my %key = map { ($_ => $sshd->key($_)) } sort keys %role;
spew("$sshd->{dir}/known_hosts", $sshd->known_host);
my $authorized = '';
for my $name (sort keys %role) {
	my $script = work_dir() . "/serve-$name";
	spew($script, "#!/bin/sh\n", map({ "export $_='$ENV{$_}'\n" =~ s/log_path='[^']*':?//r =~ s/=''([^']*)''/='$1'/r }
		grep { defined $ENV{$_} } qw(ASAN_OPTIONS UBSAN_OPTIONS)),
		'exec ' . shell_words(program(), '--config=' . $demo->config_file, '--log-level-file=off', '--stanza=demo', "--role=$name", 'serve') . "\n");
	chmod 0755, $script;
	$authorized .= qq(command="$script",restrict ) . slurp("$key{$name}.pub");
}
spew("$sshd->{dir}/authorized", $authorized);

sub ssh {
	my ($name, @more) = @_;
	return ('ssh', '-F', '/dev/null', '-o', 'BatchMode=yes', '-o', "UserKnownHostsFile=$sshd->{dir}/known_hosts", '-o', 'LogLevel=error',
		'-o', 'IdentitiesOnly=yes', '-i', $key{$name}, '-p', $sshd->port, @more, '127.0.0.1');
}

# Conversations share a connection per key: each is a session of its own, with the forced command.
sub session {
	my ($name, @words) = @_;
	return (ssh($name, "-S", "$sshd->{dir}/m-$name"), @words);
}
for my $name (sort keys %role) {
	my ($code, $out, $err) = run_command([ ssh($name, '-fNM', '-S', "$sshd->{dir}/m-$name") ]);
	die "ssh as $name: exit $code\n$err" if $code;
	PgStrata::at_end(sub { run_command([ ssh($name, '-S', "$sshd->{dir}/m-$name", "-O", 'exit') ]) });
}

sub surroundings {
	my %all;
	for my $place ($repo, $repo2, $beside, $elsewhere) {
		my $tree = snapshot($place);
		$all{"$place/$_"} = $tree->{$_} for keys %$tree;
	}
	$all{$_} = 'there' for grep { !m{/(?:run|wire|spawn)\.[^/]*$} } glob work_dir() . '/*';
	return \%all;
}
my $before = surroundings();

# hostile(ROLE, NAME, WHAT => EXPECTED, may_change => regex): what is done with a conversation, the hellos exchanged (hello => 0: not).  EXPECTED of
# the last answer that WHAT returns:
#	refused		the failure 39 or 105, and the conversation ends with it
#	failed		any failure, and it may go on
#	there		the failure 93, and it goes on
#	absent		answered so, and it goes on
#	served		answered, and it goes on
#	quiet		anything, as long as nothing leaks
sub hostile {
	my ($name, $what, $expected, $code, %how) = @_;
	my $begun = time;
	my $wire = PgStrata::Wire->run([ session($name, $how{command} // 'serve') ], errors => work_dir());
	my @wrong;
	if ($how{hello} // 1) {
		my $hello = $wire->greet(stanza => 'demo', roles => $role{$name}, %{$how{greet} // {}});
		push @wrong, 'no hello' if !$hello;
	}
	my $got = $code->($wire) // {};
	my $failure = $got->{failure};
	my $fine =
		$expected eq 'refused' ? $failure && $failure->{code} =~ /^(?:39|105)$/ && !$wire->frame
		: $expected eq 'failed' ? $failure
		: $expected eq 'there' ? $failure && $failure->{code} == 93
		: $expected eq 'absent' ? !$failure && ($got->{answer} // '') =~ /^\x01/ && $got->{data} eq ''
		: $expected eq 'served' ? !$failure && defined $got->{answer}
		: 1;
	push @wrong, "not $expected" if !$fine;
	my $goes_on = $expected =~ /^(?:there|absent|served)$/;
	push @wrong, 'no goodbye' if $goes_on && !$wire->goodbye;
	my ($exit, $stderr) = $wire->end(30);
	push @wrong, "exit $exit" if $goes_on ? $exit != 0 : $expected eq 'refused' ? $exit !~ /^(?:39|105)$/ : $exit > 125 || $exit == 117 || $exit == 124;
	push @wrong, $wire->{late} if $wire->{late};
	push @wrong, 'a leak' if $wire->{seen} =~ /\Q$canary\E/ && !$how{names};
	push @wrong, 'a sanitizer' if $stderr =~ /Sanitizer|runtime error/;
	my @changed = tree_diff($before, surroundings());
	push @wrong, map { "changed: $_" } @changed;
	push @wrong, 'took ' . (time - $begun) . ' s' if time - $begun > 60;
	note sprintf "%.1f s", time - $begun if time - $begun > 2;
	ok(!@wrong, "$name: $what: " . ($how{expect_text} // $expected)) or diag(join "\n", @wrong,
		$failure ? "failure $failure->{code}: $failure->{message}" : 'no failure', "standard error: $stderr");
	return $got;
}

sub show { my $text = length $_[0] > 70 ? substr($_[0], 0, 50) . '... of ' . length($_[0]) : $_[0]; $text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge; return "'$text'" }

# One question, in a conversation of its own.
sub question { my ($name, $what, $expected, $request, %how) = @_; hostile($name, $what, $expected, sub { $_[0]->ask($request) }, %how) }
my $segment = sub { return "$folder/$_[0]" };

# --- what the roles are for works, so a refusal means something ---

my $got = hostile('archive', 'its own archive.info', 'served', sub { $_[0]->ask(wire_get(1, 'archive/demo/archive.info')) });
like($got->{data}, qr/^\[backrest\]/, 'plain, to the byte');
$got = hostile('archive', 'an encrypted archive.info', 'served', sub { $_[0]->ask(wire_get(2, 'archive/demo/archive.info')) });
like($got->{data}, qr/cipher-pass=/, 'opened by the server, with the sub-passphrase');
$got = hostile('archive', 'a segment', 'served', sub { $_[0]->ask(wire_get(1, $segment->($stored))) });
ok($got->{data} eq $wal, 'is what was pushed');
$got = hostile('archive', 'a segment behind the operator\'s link', 'served',
	sub { $_[0]->ask(wire_get(1, "archive/demo/$id/0000000200000000/0000000200000000000000AA-" . 'b' x 40)) });
like($got->{data}, qr/by the operator/, 'is followed');
hostile('restore', 'backup.info', 'served', sub { $_[0]->ask(wire_get(1, 'backup/demo/backup.info')) });
hostile('backup', 'PG_VERSION', 'served', sub { $_[0]->ask(wire_get(1001, 'PG_VERSION')) });
my $new = '0000000100000000000000E1-' . 'e' x 40;
{
	my $wire = PgStrata::Wire->run([ session('archive', 'serve') ], errors => work_dir());
	$wire->greet(stanza => 'demo', roles => 1);
	my $answer = $wire->put(1, $segment->($new), $wal);
	ok(defined $answer->{answer}, 'archive: a new segment is taken') or diag(explain($answer->{failure}));
	$wire->goodbye;
	is(($wire->end)[0], 0, 'and goodbye');
	ok(-e "$repo/$folder/$new" && slurp("$repo/$folder/$new") eq $wal, 'and is there');
	unlink "$repo/$folder/$new";
}

# --- paths ---

for my $path ('../beside/secret', 'archive/demo/../../../beside/secret', 'archive/demo/../other/archive.info', '/etc/passwd', "$beside/secret",
	'archive//demo/archive.info', 'archive/demo/./archive.info', 'archive/demo/archive.info/', '.', '..', "archive/demo/archive.info\0.x",
	"archive/demo/archive.info\n", 'a' x 5000, ('a/' x 2500) . 'a', 'proc/self/environ', '/proc/self/fd/0', "archive/demo/$id/../$id/x") {
	question('archive', 'get ' . show($path), $path =~ m{^proc} ? 'quiet' : 'refused', wire_get(1, $path));
	question('archive', 'put ' . show($path), 'refused', wire_put(1, $path)) if $path =~ m{\.\.|^/|\0|\n};
	question('restore', 'get ' . show($path), 'refused', wire_get(1, $path)) if $path !~ m{^proc};
	question('backup', 'get ' . show($path), $path =~ m{^proc} ? 'absent' : 'refused', wire_get(1001, $path, entry => 1));
}
question('archive', "$_ " . show("archive/demo/../other"), 'refused', wire_path($_, 1, 'archive/demo/../other')) for qw(list stat sync tree);
question('archive', "get of $_", 'refused', wire_get(1, $_)) for 'backup/demo/backup.info', "backup/demo/$label/backup.manifest", 'backup/demo/latest';
question($_, 'get of a file of the repository that is nobody\'s', 'quiet', wire_get(1, $canary)) for qw(archive restore);
for my $name (qw(archive restore)) {
	for my $stanza (qw(other Demo DEMO demo2), "demo-$canary", 'demo ') {
		my $got = hostile($name, "get archive.info of '$stanza'", 'quiet', sub { $_[0]->ask(wire_get(1, "archive/$stanza/archive.info")) },
			names => $stanza =~ /$canary/ ? 1 : 0);
		is($got->{data}, '', 'brings nothing');
	}
	for my $path ("archive/other/$id/0000000100000000/$first-" . 'a' x 40, "archive/other/$id-$canary", 'backup/other/backup.info') {
		my $got = hostile($name, "get $path", 'quiet', sub { $_[0]->ask(wire_get(1, $path)) }, names => $path =~ /$canary/ ? 1 : 0);
		is($got->{data}, '', 'brings nothing');
	}
	for my $path ('', 'archive', 'backup', 'archive/other', 'backup/other', "archive/other/$id") {
		my $got = hostile($name, "list of '$path'", 'quiet', sub { $_[0]->ask(wire_path('list', 1, $path)) });
		unlike($got->{data}, qr/other/, 'does not name the other stanza');
		question($name, "stat of '$path'", 'quiet', wire_path('stat', 1, $path));
	}
	question($name, "get through a link to $links{$_}", 'failed', wire_get(1, $segment->($_))) for grep { !/C4/ } sort keys %links;
	question($name, 'get through a dangling link', 'quiet', wire_get(1, $segment->('0000000100000000000000C4-' . 'c' x 40)));
	my $got = hostile($name, 'list with links to files', 'served', sub { $_[0]->ask(wire_path('list', 1, $folder)) });
	like($got->{data}, qr/\Q$stored\E/, 'tells of what is its own');
}
question('backup', "get of $_", 'failed', wire_get(1001, $_)) for 'link-to-link', 'link-to-dir/further';
question('backup', "list of $_", 'quiet', wire_path('list', 1001, $_)) for 'link-to-dir/further', 'link-to-link';

# --- places, verbs, roles ---

question('archive', "get at place $_", 'failed', wire_get($_, 'archive/demo/archive.info')) for 0, 3, 256, 257, 1001, 4294967295;
question('restore', "get at place $_", 'failed', wire_get($_, 'PG_VERSION')) for 1001;
question('backup', "get at place $_", 'failed', wire_get($_, 'archive/demo/archive.info')) for 0, 1, 2, 1002;
question('backup', 'a put into the data directory', 'refused', wire_put(1001, 'evil'));
question('backup', 'a sync', 'refused', wire_path('sync', 1001, ''));
question('restore', 'a put', 'refused', wire_put(1, $segment->($new)));
question('restore', 'a sync', 'refused', wire_path('sync', 1, $folder));
question('archive', 'a tree', 'refused', wire_path('tree', 1, 'archive/demo'));
question('restore', 'a tree', 'refused', wire_path('tree', 1, 'archive/demo'));
for my $name (qw(archive restore)) {
	for my $verb (grep { /^db_/ } sort keys %verb) {
		my %field = (db_open => pack('V', 1001), db_start => wire_text('x') . "\1", db_switch => wire_text('x'));
		question($name, $verb, 'refused', pack('C', $verb{$verb}) . ($field{$verb} // ''));
	}
}
question('archive', "verb $_", 'refused', pack('CV', $_, 1) . wire_text('archive/demo')) for 0, 7, 9, 22, 128, 255;

# --- what was accepted stays ---

for my $name ($stored, "$first-" . 'd' x 40, "$first-" . 'd' x 40 . '.zst', "$stored.gz", "$stored.lz4") {
	hostile('archive', "put over an accepted segment as $name", 'there', sub { $_[0]->put(1, $segment->($name), 'x' x 1000) });
	hostile('archive', "put of $name, told only at the end", 'quiet', sub { $_[0]->put(1, $segment->("$first-" . 'f' x 40), 'x' x 1000,
		final => $segment->($name)) }, expect_text => 'nothing changes');
}
hostile('archive', 'put over a history file', 'there', sub { $_[0]->put(1, "archive/demo/$id/00000002.history", '1') });
for my $path ('archive/demo/archive.info', 'archive/demo/archive.info.copy', 'backup/demo/backup.info', "backup/demo/$label/evil", 'archive/evil',
	"archive/demo/$id/evil", $segment->('evil'), $segment->("$new.exe"), $segment->("$new.pgbackrest.tmp"), $segment->(lc $new),
	$segment->(substr $new, 0, -1), $segment->("${new}e"), $segment->('.' . $new), "archive/demo/$id/0000000200000000/$new",
	"archive/demo/evil/0000000100000000/$new", "archive/demo/$new", "archive/other/$id/0000000100000000/$new", $segment->("$new/$new"),
	$segment->('00000001000000000000000G-' . 'e' x 40), "$folder", '') {
	hostile('archive', 'put of ' . show($path), 'refused', sub { $_[0]->put(1, $path, 'evil') });
	hostile('archive', 'put, at its end ' . show($path), 'refused', sub { $_[0]->put(1, $segment->($new), 'evil', final => $path) });
}
hostile('archive', 'put, at its end ' . show($_), 'refused', sub { $_[0]->put(1, $segment->($new), 'evil', final => $_) })
	for '../../../../beside/evil', "$beside/evil", $segment->("../0000000100000000/$new"), "a\0b";
hostile('archive', 'put over an accepted segment under its bare name', 'refused', sub { $_[0]->put(1, $segment->($first), 'x') });
hostile('archive', 'put of a segment under its bare name', 'refused', sub { $_[0]->put(1, $segment->(substr $new, 0, 24), 'x') });
hostile('archive', 'put that is to replace', 'refused', sub { $_[0]->put(1, $segment->($stored), 'x', replace => 1, 'create-new' => 0) });
hostile('archive', 'put of something new that is to replace', 'refused', sub { $_[0]->put(1, $segment->($new), 'x', replace => 1, 'create-new' => 0) });
hostile('archive', 'put over a link to a file', 'there', sub { $_[0]->put(1, $segment->('0000000100000000000000C1-' . 'c' x 40), 'x') });
hostile('archive', 'put over the dangling link of an operator', 'quiet', sub { $_[0]->put(1, $segment->('0000000100000000000000C4-' . 'c' x 40), 'x') });
hostile('archive', 'put into the sub-folder of another timeline', 'refused', sub { $_[0]->put(1, "archive/demo/$id/0000000300000000/$new", 'x') });

# --- a put that does not keep to the order ---

hostile('archive', 'a put never finished', 'quiet', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, 'x' x 300000, 0);
	return {};
}, expect_text => 'undone');
hostile('archive', 'a put cancelled', 'quiet', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, 'x' x 300000, 0);
	$_[0]->send('C', 1, '');
	return $_[0]->answer(1);
}, expect_text => 'undone');
hostile('archive', 'the data of a put without a put', 'refused', sub { $_[0]->send('D', 1, 'x'); return $_[0]->answer(1) });
hostile('archive', 'the end of a put without a put', 'refused', sub { $_[0]->send('F', 1, wire_text($segment->($new))); return $_[0]->answer(1) });
hostile('archive', 'data of another request within a put', 'failed', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 7, 'x', 0);
	return $_[0]->answer(1);
}, greet => { silence => 2000 });
hostile('archive', 'a request within a put', 'failed', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, 'x', 0);
	$_[0]->request(wire_get(1, 'archive/demo/archive.info'));
	return $_[0]->answer(1);
}, greet => { silence => 2000 });
hostile('archive', 'a goodbye within a put', 'quiet', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, 'x', 0);
	$_[0]->send('G', 0, '');
	return $_[0]->answer(1);
}, greet => { silence => 2000 }, expect_text => 'undone');
hostile('archive', 'a put finished twice', 'refused', sub {
	my $there = $_[0]->put(1, $segment->($stored), 'x');
	$_[0]->send('F', 1, wire_text($segment->($stored)));
	return $_[0]->answer(1);
});
hostile('archive', 'an end without a path', 'refused', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, 'x');
	$_[0]->send('F', 1, '');
	return $_[0]->answer(1);
});
hostile('archive', 'packed data that is not', 'refused', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, pack('V', 1000) . 'not zstd at all', 3);
	return $_[0]->answer(1);
});
hostile('archive', 'packed data of a gigabyte', 'refused', sub {
	$_[0]->request(wire_put(1, $segment->($new)));
	$_[0]->send('D', 1, pack('V', 1 << 30) . "\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00", 3);
	return $_[0]->answer(1);
});

# --- numbers and lengths that lie ---

my $info = 'archive/demo/archive.info';
my $whole = wire_get(1, $info);
my @malformed = (
	[ 'an empty request', '' ], [ 'a verb alone', pack('C', 1) ], [ 'a byte too few', substr($whole, 0, -1) ], [ 'a byte too many', "$whole\0" ],
	map({ [ "a path of $_ bytes that are not there", pack('CVV', 1, 1, $_) . 'abc' ] } 4, 65536, 0x7fffffff, 0xfffffffe, 0xffffffff),
	[ 'an unknown bit', wire_get(1, $info, set => 8) ],
	map({ [ "$_ of 2^63", wire_get(1, $info, $_ => 1 << 63) ] } qw(offset length)),
	map({ [ "page size $_", wire_get(1, $info, spec => wire_spec('page-size' => $_)) ] } 1, 3, 512, 12288, 65536, 4294967295),
	map({ [ "codec $_ to expand", wire_get(1, $info, spec => wire_spec(expand => $_)) ] } 5, 200),
	map({ [ "codec $_ to compress", wire_get(1, $info, spec => wire_spec(compress => $_)) ] } 5, 255),
	[ 'an unknown bit in a spec', wire_get(1, $info, spec => wire_spec(set => 128)) ],
	[ 'a checksum not to want, and none asked for', wire_get(1, $info, spec => wire_spec(unless => 'x' x 20)) ],
	map({ [ "blocks of $_", wire_get(1, $info, spec => wire_spec(blocks => { block => $_ })) ] } 0, 4294967295),
	map({ [ "block checksums of $_", wire_get(1, $info, spec => wire_spec(blocks => { sum => $_ })) ] } 0, 255, 4294967295),
	map({ [ "super blocks of $_", wire_get(1, $info, spec => wire_spec(blocks => { super => $_ })) ] } 0, 1, 8193, 4294967295),
	map({ [ "$_ bytes of prior checksums that are not there", wire_get(1, $info, spec => wire_spec(blocks => { length => $_ })) ] } 600, 1 << 31, 4294967295),
	[ 'prior checksums and a half', wire_get(1, $info, spec => wire_spec(blocks => { prior => 'x' x 603 })) ],
	[ 'a spec that ends early', wire_get(1, $info, spec => substr wire_spec(), 0, 9) ],
);
question('archive', $_->[0], 'refused', $_->[1]) for @malformed;
question('archive', 'offset and length beyond all numbers', 'quiet', wire_get(1, $info, offset => 9223372036854775807, length => 9223372036854775807));
question('archive', 'an offset behind the end', 'quiet', wire_get(1, $info, offset => 1 << 40));
question('archive', 'more than there is, exactly', 'failed', wire_get(1, $info, length => 1 << 40, exact => 1));
question('archive', "a level of $_", 'quiet', wire_get(1, $info, spec => wire_spec(compress => 3, level => $_))) for -2147483648, 2147483647;
question('archive', 'a passphrase for an info file that is opened anyway', 'quiet', wire_get(2, $info, spec => wire_spec(decrypt => 'x')));
question('archive', 'an info file encrypted with a passphrase of the peer', 'quiet', wire_get(2, $info, spec => wire_spec(encrypt => 'x')));
question('archive', 'a wrong passphrase for what is not encrypted', 'failed', wire_get(1, $segment->($stored), spec => wire_spec(decrypt => 'x')));
question('archive', 'to expand what is not compressed', 'failed', wire_get(1, $segment->($stored), spec => wire_spec(expand => 3)));

# --- frames ---

my @frames = (
	map({ my $n = $_; [ "a frame of $n bytes", pack('Va1CvV', $n, 'Q', 1, 0, 1) ] } (1 << 20) + 1, 0x7fffffff, 0xffffffff),
	[ 'a frame with something in its reserved bytes', pack('Va1CvVa*', length $whole, 'Q', 1, 1, 1, $whole) ],
	map({ [ "flags $_", wire_frame('Q', 1, $whole, $_) ] } 2, 3, 4, 255),
	map({ [ "a frame of type '$_'", wire_frame($_, 1, $whole) ] } qw(Z q), "\0", "\xff"),
	map({ [ "a frame that only a server sends, '$_'", wire_frame($_, 1, 'x') ] } qw(A E O W)),
	[ 'a second hello', wire_frame('H', 0, wire_hello(roles => 7)) ],
	[ 'the magic', 'PGSTRATA' . wire_frame('Q', 1, $whole) ],
	[ 'a request without a number', wire_frame('Q', 0, $whole) ],
	[ 'a number out of order', wire_frame('Q', 7, $whole) ],
	[ 'the greatest number', wire_frame('Q', 4294967295, $whole) ],
	[ 'a ping with content', wire_frame('P', 0, 'x') ], [ 'a goodbye with a number', wire_frame('G', 5, '') ],
	[ 'a cancel of what was never asked', wire_frame('C', 99, '') ],
	[ 'a request that never ends', wire_frame('Q', 1, 'x' x (1 << 20), 0) x 17 ],
	[ 'noise', join '', map { chr int rand 256 } 1 .. 5000 ], [ 'a page of the web', "GET / HTTP/1.1\r\nHost: there\r\n\r\n" ],
);
for my $case (@frames) {
	my ($what, $bytes) = @$case;
	hostile('archive', $what, 'refused', sub { $_[0]->raw($bytes); return $_[0]->answer(1) });
}
hostile('archive', 'a request whose frames have two numbers', 'failed', sub {
	$_[0]->raw(wire_frame('Q', 1, substr($whole, 0, 3), 0) . wire_frame('Q', 2, substr($whole, 3)));
	return $_[0]->answer(1);
}, greet => { silence => 2000 });
hostile('archive', 'a number used twice', 'refused', sub { $_[0]->ask($whole); return $_[0]->ask($whole, number => 1) });
hostile('archive', 'half of a frame', 'quiet', sub { $_[0]->raw(substr wire_frame('Q', 1, $whole), 0, $_); return {} }, expect_text => 'ends') for 5, 20;

# --- before the hello, and other hellos ---

for my $case ([ 'a request instead of a hello', wire_frame('Q', 1, $whole) ], [ 'a hello of 64 KiB and one', wire_frame('H', 0, 'x' x 65537) ],
	[ 'half a hello', wire_frame('H', 0, substr wire_hello(stanza => 'demo'), 0, 20) ], [ 'a hello with more behind', wire_frame('H', 0, wire_hello() . 'x') ],
	[ 'a hello with a number', wire_frame('H', 3, wire_hello(stanza => 'demo', roles => 1)) ], [ 'noise before the hello', "\xff" x 4096 ],
	[ 'a hello longer than it says', wire_frame('H', 0, wire_hello(stanza => 'demo', roles => 1), 1, 10) ],
	map({ [ "major $_", wire_frame('H', 0, wire_hello(major => $_, stanza => 'demo', roles => 1)) ] } 0, 2, 65535)) {
	my ($what, $bytes) = @$case;
	hostile('archive', $what, 'refused', sub { $_[0]->hello; $_[0]->raw($bytes); return $_[0]->answer(1) }, hello => 0);
}
hostile('archive', 'nothing at all', 'quiet', sub { return {} }, hello => 0, expect_text => 'ends');
hostile('archive', "a hello with $_->[0]", 'quiet', sub { return $_[0]->ask(wire_get(1, 'archive/other/archive.info')) }, greet => $_->[1], expect_text => 'widens nothing')
	for [ 'another stanza', { stanza => 'other' } ], [ 'no stanza', { stanza => undef } ], [ 'all roles', { roles => 7 } ], [ 'unknown roles', { roles => 0xffffffff } ],
	[ 'a silence of -1', { silence => -1 } ], [ 'no silence', { silence => 0 } ], [ 'an endless silence', { silence => 9223372036854775807 } ],
	[ 'a level of 1000', { level => 1000 } ], [ 'minor 65535', { minor => 65535 } ], [ 'a billion ahead', { ahead => 4294967295 } ],
	[ 'a long name', { program => 'x' x 60000 } ], [ 'line feeds in its name', { program => "x\n2020-01-01 P00 INFO: $first" } ];
hostile('archive', 'all roles and another stanza, and then a put there', 'quiet', sub {
	return $_[0]->put(1, "archive/other/$id/0000000100000000/$new", 'x') }, greet => { stanza => 'other', roles => 7 }, expect_text => 'refused');
hostile('archive', 'the role backup asked for in the hello', 'quiet', sub { return $_[0]->ask(wire_get(1001, 'PG_VERSION')) }, greet => { roles => 4 }, expect_text => 'refused');

# --- too much ---

hostile('archive', 'a hundred thousand requests ahead', 'quiet', sub {
	my ($wire) = @_;
	$wire->raw(join '', map { wire_frame('Q', $_, wire_path('stat', 1, $info)) } 1 .. 100_000);
	my $next = 1;
	while (my $frame = $wire->frame) {
		last if $frame->{type} eq 'E' && $frame->{request} == 0;
		return { failure => { code => 0, message => "$frame->{request} instead of $next" } } if $frame->{type} eq 'A' && $frame->{request} != $next++;
		last if $next > 100_000;
	}
	return {};
}, expect_text => 'in order, or ended');
hostile('archive', 'answers that nobody reads', 'quiet', sub {
	my ($wire) = @_;
	my $late = time + 60;
	my $bytes = join '', map { wire_frame('Q', $_, wire_get(1, $segment->($stored))) } 1 .. 2000;
	my $sent = 0;
	while (defined(my $n = syswrite $wire->{out}, $bytes, 65536, $sent)) { # until nothing goes any more
		$sent += $n;
		last if $sent >= length $bytes || time > $late;
	}
	$wire->hang_up;
	return {};
}, expect_text => 'the server ends');
hostile('archive', 'cancel of everything', 'quiet', sub {
	my ($wire) = @_;
	$wire->raw(join '', map { wire_frame('Q', $_, wire_get(1, $segment->($stored))) } 1 .. 50);
	$wire->raw(join '', map { wire_frame('C', $_, '') } 1 .. 50);
	my $answers = 0;
	while (my $frame = $wire->frame) {
		last if $frame->{type} =~ /[AE]/ && ++$answers == 50;
	}
	return { failure => { code => 0, message => "only $answers answers" } } if $answers != 50;
	return {};
}, expect_text => 'all are answered');

# --- what SSH is asked ---

my $forward = PgStrata::Sshd::free_port();
for my $command ('pgstrata --stanza=other --role=archive,restore,backup serve', program() . ' --config=' . $demo->config_file . ' --stanza=other --role=restore serve',
	"cat $beside/secret", 'sh -i', "$canary; cat $beside/secret", 'internal-sftp', "scp -f $beside/secret") {
	hostile('archive', "the command '" . substr($command =~ s/\Q${\work_dir()}\E//gr, 0, 60) . "'", 'refused',
		sub { return $_[0]->ask(pack('CV', $verb{db_open}, 1001)) }, command => $command);
}
for my $how ([ 'the subsystem sftp', '-s', 'sftp' ], [ 'a shell with a terminal', '-tt', undef ]) {
	my ($what, $option, $command) = @$how;
	my ($code, $out, $err) = run_command([ ssh('archive', $option), $command // () ], stdin => "cat $beside/secret\nexit\n", timeout => 60);
	ok($code != 0 && $out !~ /\Q$canary\E/ && $code != 124, "archive: $what is not to be had") or diag("exit $code\n$out$err");
}
my ($code, $out, $err) = run_command([ ssh('archive', '-W', '127.0.0.1:' . $sshd->port) ], timeout => 60);
ok($code != 0 && $out !~ /SSH-2/, 'archive: no connection goes on from there') or diag("exit $code\n$out$err");
($code, $out, $err) = run_command([ ssh('archive', '-o', 'ExitOnForwardFailure=yes', '-R', "$forward:127.0.0.1:1"), 'serve' ], timeout => 60);
isnt($code, 0, 'archive: no port is opened there');

# --- database requests are no SQL ---

my $evil = q{x'); DROP TABLE precious; --};
my $wire = PgStrata::Wire->run([ session('backup', 'serve') ], errors => work_dir());
$wire->greet(stanza => 'demo', roles => 4);
ok(defined $wire->ask(pack('CV', $verb{db_open}, 1001))->{answer}, 'backup: a session');
my $switched = $wire->ask(pack('C', $verb{db_switch}) . wire_text($evil));
my $started = $wire->ask(pack('C', $verb{db_start}) . wire_text($evil) . "\1");
my $stopped = $wire->ask(pack('C', $verb{db_stop}));
ok(defined $_->[1]{answer} || $_->[1]{failure}, "backup: $_->[0] with quotes is answered") for [ switch => $switched ], [ start => $started ];
diag(explain([ map { $_->{failure} } $switched, $started, $stopped ])) if grep { $_->{failure} } $switched, $started, $stopped;
$wire->goodbye;
is(($wire->end)[0], 0, 'and goodbye');
is($pg->psql('SELECT count(*) FROM precious'), 0, 'the table is still there');
my @statements = grep { /DROP TABLE/ && !/DETAIL|\$\d|psql/ } split /\n/, $pg->log_text;
ok(!grep(/(?:statement|execute[^:]*): .*DROP TABLE/ && !/'x''\)/, @statements), 'no statement contains what was sent, but as a parameter or literal')
	or diag(join "\n", @statements);
question('backup', 'a request without a session', 'failed', pack('C', $verb{db_time}));
question('backup', "open at place $_", 'failed', pack('CV', $verb{db_open}, $_)) for 1, 0, 1002;
question('backup', 'a start with a label that is too long', 'quiet', pack('C', $verb{db_start}) . wire_text('x' x 500000) . "\1");

# --- what is left ---

same_tree($before, surroundings(), 'nothing that was accepted has changed');
run_command([ ssh($_, '-S', "$sshd->{dir}/m-$_", "-O", 'exit') ]) for sort keys %role;
ok(wait_until(sub { !$sshd->sessions }, 30), 'no session is left') or diag(`ps -ef`);
is(join(' ', grep { /\.tmp$/ } keys %{snapshot($repo)}), '', 'and nothing half written');
$pg->stop;
done_testing;
