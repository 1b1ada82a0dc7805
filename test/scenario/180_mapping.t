# Where a restore puts things: tablespaces mapped by name, by OID and all together, links kept, mapped, made of what was
# none, or restored in place; a copy beside the running original; and nothing outside of these places, whatever stands in
# the directory or in the manifest.
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Fcntl qw(:mode);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my $top = work_dir();
my ($ext, $new) = map { "$top/$_" } qw(ext new);
make_path("$ext/conf", "$ext/log", map({ "$top/s$_" } 1 .. 3), { mode => 0700 });
my $pg = PgStrata::Cluster->new(wal_segsize => 1, initdb => [ "--waldir=$ext/wal" ]);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2 } });
my ($data, $to) = ($pg->data, $copy->data);
rename "$data/pg_hba.conf", "$ext/conf/hba" or die;
symlink "$ext/conf/hba", "$data/pg_hba.conf" or die;
symlink "$ext/log", "$data/log" or die;
make_path("$data/more/sub");
spew("$data/more/$_", "$_\n" x 1000) for qw(a b sub/c);
spew("$ext/log/$_", "$_\n" x 100) for qw(old new);
$pg->archive_to($stanza);
$pg->start;
$pg->psql("CREATE TABLESPACE s$_ LOCATION '$top/s$_'") for 1 .. 3;
$pg->psql("CREATE TABLE in_s$_ TABLESPACE s$_ AS SELECT generate_series(1, 2000) AS id") for 1 .. 3;
my @oids = split /\n/, $pg->psql("SELECT oid FROM pg_tablespace WHERE spcname ~ '^s[123]' ORDER BY spcname");
my ($folder) = map { s{.*/}{}r } glob "$top/s1/PG_*";
my $sum = 'SELECT sum(id) FROM (SELECT id FROM in_s1 UNION ALL SELECT id FROM in_s2 UNION ALL SELECT id FROM in_s3) a';
$stanza->run_ok('stanza-create');
$stanza->run_ok('backup', '--type=full');

# The copy: another data directory, the same stanza.
sub restore { return $stanza->run_ok('restore', "--pg1-path=$to", type(@_), @_) }
sub refused { return $stanza->run_fail('restore', "--pg1-path=$to", type(@_), @_) }
sub type { return (grep { /^--type=/ } @_) ? () : '--type=none' }
sub fresh { remove_tree($to, $new); mkdir $new, 0700 or die }
my @all = ("--tablespace-map-all=$new/all");

sub link_is {
	my ($name, $where) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(readlink "$to/$name" // 'no link', $where, "$name leads to $where");
}

# The content of the data directory as a user sees it, through its links.
sub seen {
	my ($dir, $prefix) = @_;
	my %tree;
	opendir(my $handle, $dir) or die "$dir: $!";
	for my $name (grep { !/^\.\.?\z/ } readdir $handle) {
		my ($key, $path) = (($prefix // '') . $name, "$dir/$name");
		my @status = stat $path or next;
		$tree{$key} = sprintf('%s %04o', S_ISDIR($status[2]) ? 'd' : 'f', S_IMODE($status[2]))
			. (S_ISREG($status[2]) ? " $status[9] " . sha1_hex(slurp($path)) : '');
		%tree = (%tree, seen($path, "$key/")) if S_ISDIR($status[2]);
	}
	delete $tree{'postgresql.auto.conf'}; # tells of earlier restores
	return %tree;
}

sub inodes {
	my %found;
	for my $dir ($to, $new) {
		for my $name (keys %{snapshot($dir)}) {
			my @status = lstat "$dir/$name";
			$found{"$dir/$name"} = "$status[1] $status[9]"
				if S_ISREG($status[2]) && $name !~ m{pg_control\z|postgresql\.auto\.conf\z};
		}
	}
	return \%found;
}

# --- what is refused, before anything is touched ---

my $before = snapshot($top, ignore => qr{^(c-demo|main|main\.log|run\.|s\z)|pg_wal});
my @mappings = (
	[ 'a tablespace that is none', 76, qr/\[076\]: unable to remap invalid tablespace 'nix'/, "--tablespace-map=nix=$new/x", @all ],
	[ 'two paths for one', 76, qr/\[076\]: tablespace remapped by name 's1' and id $oids[0] with different paths/,
		"--tablespace-map=s1=$new/x", "--tablespace-map=$oids[0]=$new/y" ],
	[ 'a relative path', 76, qr/not an absolute path/, '--tablespace-map=s1=x', @all ],
	[ 'two tablespaces in one place', 70, qr/is the same directory as/, @all, map { "--tablespace-map=s$_=$new/x" } 1, 2 ],
	[ 'a tablespace in the data directory', 70, qr/is in PGDATA/, @all, "--tablespace-map=s1=$to/x" ],
	[ 'a tablespace around the data directory', 70, qr/contains PGDATA/, @all, "--tablespace-map=s1=$top" ],
	[ 'no mapping: the original is in the way', 40, qr/because it contains files/ ],
	[ 'no such link', 78, qr/\[078\]: unable to map link 'nix'.*HINT: does the link/s, @all, "--link-map=nix=$new/x" ],
	[ 'a tablespace as a link', 78, qr/\[078\]: unable to remap tablespace 'pg_tblspc\/$oids[0]'.*tablespace-map/s, @all,
		"--link-map=pg_tblspc/$oids[0]=$new/x" ],
	[ 'pg_control as a link', 78, qr/unable to map link/, @all, "--link-map=global/pg_control=$new/x" ],
	[ 'a way out as a link', 78, qr/unable to map link/, @all, "--link-map=../x=$new/x" ],
	[ 'a file link without a directory', 78, qr/'x' is not long enough to be the destination for file link 'pg_hba\.conf'/, @all,
		'--link-map=pg_hba.conf=x' ],
	[ 'a link into the data directory', 70, qr/link 'pg_wal' destination '\Q$to\E\/x' is in PGDATA/, @all, "--link-map=pg_wal=$to/x" ],
	[ 'a relative link into the data directory', 70, qr/is in PGDATA/, @all, '--link-map=pg_wal=wal' ],
	[ 'two links to one directory', 70, qr/is the same directory as/, @all, "--link-map=pg_wal=$new/x", "--link-map=log=$new/x/" ],
	[ 'a link below another', 70, qr/is a subdirectory of/, @all, "--link-map=pg_wal=$new/x/y", "--link-map=log=$new/x" ],
	[ 'a link below a tablespace', 70, qr/is a subdirectory of/, @all, "--link-map=pg_wal=$new/all/s1/y" ],
	[ 'two links to one file', 70, qr/is the same file as/, @all, "--link-map=pg_hba.conf=$new/x", "--link-map=pg_ident.conf=$new/./x" ],
	[ 'a file in a linked directory', 70, qr/is in the directory of/, @all, "--link-map=pg_hba.conf=$new/x/h", "--link-map=log=$new/x" ],
	[ 'a link to the original\'s directory', 40, qr/path '\Q$ext\E\/(wal|log)' because it contains files/, @all,
		"--link-map=pg_wal=$ext/wal" ],
	[ 'a link to the original\'s file', 93, qr/file '\Q$ext\E\/conf\/hba' because it already exists.*--delta/s, @all,
		"--link-map=pg_hba.conf=$ext/conf/hba" ],
	[ 'a place that cannot be made', 47, qr/unable to create path '\/proc\/x'/, @all, '--link-map=pg_wal=/proc/x' ],
);
for my $case (@mappings) {
	my ($name, $code, $like, @options) = @$case;
	refused(@options, { code => $code, like => $like, name => $name });
}
same_tree($before, snapshot($top, ignore => qr{^(c-demo|main|main\.log|run\.|s\z)|pg_wal}), 'nothing was touched');
mkdir $new, 0700;
symlink $to, "$new/round" or die;
mkdir $to, 0700;
refused(@all, "--link-map=pg_wal=$new/round/x", { code => 70, like => qr/is in PGDATA/, name => 'a roundabout way into the data directory' });

# --- a copy beside the running original ---

fresh();
my $out = restore("--tablespace-map=s1=$new/one", "--tablespace-map=$oids[1]=$new/two/", @all, '--type=default', '--archive-mode=off',
	{ name => 'restore beside the original', like => qr/INFO: remap data directory to '\Q$to\E'/ });
like($out, qr/INFO: map tablespace 'pg_tblspc\/$oids[$_->[0]]' to '\Q$new\E\/$_->[1]'/, "$_->[1] is told of")
	for [ 0, 'one' ], [ 1, 'two' ], [ 2, 'all/s3' ];
like($out, qr/WARN: file link 'pg_hba\.conf' will be restored as a file at the same location/, 'a file link is not kept');
like($out, qr/WARN: contents of directory link '$_' will be restored in a directory/, "link $_ is not kept") for qw(log pg_wal);
link_is("pg_tblspc/$oids[$_->[0]]", "$new/$_->[1]") for [ 0, 'one' ], [ 1, 'two' ], [ 2, 'all/s3' ];
ok(!-l "$to/$_", "$_ is no link") for qw(log pg_wal pg_hba.conf);
$copy->start;
$copy->wait_for_recovery_end;
is($copy->psql($sum), $pg->psql($sum), 'the copy has the tablespaces\' rows');
is($copy->psql("SELECT pg_tablespace_location($oids[2])"), "$new/all/s3", 'the server knows the new place');
$copy->psql("INSERT INTO in_s$_ VALUES (-$_)") for 1 .. 3;
isnt($copy->psql($sum), $pg->psql($sum), 'copy and original are apart');
$copy->stop;

# --- delta with other mappings ---

restore('--delta', @all, "--tablespace-map=s1=$new/one", { name => 'delta with another place for one tablespace',
	like => qr/remove link '\Q$to\E\/pg_tblspc\/$oids[1]' because destination changed/ });
link_is("pg_tblspc/$oids[1]", "$new/all/s2");
ok(-d "$new/two/$folder", 'what was in the old place is left alone');
refused('--delta', { code => 40, name => 'delta that forgets the mapping',
	like => qr/unable to restore to path '\Q$top\E\/s1\/$folder' because it belongs to the cluster in '\Q$data\E'/ });
refused('--delta', @all, '--link-all', { code => 40, name => 'delta that takes the original\'s links', like => qr/belongs to the cluster/ });
is($pg->psql('SELECT 1'), 1, 'the original is well');

# --- links ---

fresh();
my %plain = (restore(@all) && seen($to));
my @links = ("--link-map=pg_wal=$new/wal/deep", "--link-map=pg_hba.conf=$new/conf/hba", "--link-map=pg_xact=$new/xact",
	"--link-map=more/sub=../../new/sub", "--link-map=postgresql.auto.conf=$new/conf/auto", "--link-map=more/a=$new/conf/a");
fresh();
$out = restore(@all, @links, { name => 'links mapped and made', like => qr/INFO: map link 'pg_wal' to '\Q$new\E\/wal\/deep'/ });
like($out, qr/INFO: link 'pg_xact' to '\Q$new\E\/xact'/, 'a directory becomes a link');
like($out, qr/directory link 'log' will be restored in/, 'the others are restored in place');
link_is($_->[0], $_->[1]) for [ 'pg_wal', "$new/wal/deep" ], [ 'pg_hba.conf', "$new/conf/hba" ], [ 'pg_xact', "$new/xact" ],
	[ 'more/sub', '../../new/sub' ], [ 'postgresql.auto.conf', "$new/conf/auto" ], [ 'more/a', "$new/conf/a" ];
same_tree(\%plain, { seen($to) }, 'through the links all is as without');
my $tree = snapshot($to);
$before = inodes();
chmod 0750, "$new/xact", "$new/conf/a";
restore('--delta', @all, @links, { name => 'the same again with delta' });
same_tree($tree, snapshot($to), 'the same tree');
is_deeply(inodes(), $before, 'no file is written again, in linked places neither');
same_tree(\%plain, { seen($to) }, 'modes in linked places are set right');
restore('--delta', @all, @links, '--type=default', '--archive-mode=off', { name => 'delta with recovery' });
link_is('postgresql.auto.conf', "$new/conf/auto");
like(slurp("$new/conf/auto"), qr/^restore_command = /m, 'recovery settings are written where the link leads');
$copy->start;
$copy->wait_for_recovery_end;
is($copy->psql($sum), $pg->psql($sum), 'the server runs with the links');
$copy->stop;
restore('--delta', @all, @links, { name => 'delta over the used copy' });
same_tree(\%plain, { seen($to) }, 'as if it had not been used');

my $outside = "$top/outside";
make_path("$outside/sub", { mode => 0700 });
spew("$outside/$_", 'not ours') for qw(a pg_control 0000 PG_VERSION sub/c);
my $untouched = snapshot($outside);
for my $case (
	[ 'strangers in linked places', sub {
		spew("$new/xact/stranger", 'x');
		make_path("$new/wal/deep/x/y");
		symlink $outside, "$new/all/s1/$folder/99";
		spew("$new/conf/neighbour", 'x');
	} ],
	[ 'linked directory with a link in it', sub {
		remove_tree("$new/wal/deep/archive_status");
		symlink $outside, "$new/wal/deep/archive_status";
		unlink "$new/xact/0000";
		symlink "$outside/0000", "$new/xact/0000";
	} ],
	[ 'linked files that are links', sub { unlink "$new/conf/a", "$new/conf/hba"; symlink "$outside/a", "$new/conf/$_" for qw(a hba) } ],
	[ 'links that lead elsewhere', sub {
		unlink map { "$to/$_" } qw(pg_wal more/sub more/a pg_xact);
		symlink $outside, "$to/$_" for qw(pg_wal more/sub pg_xact);
		symlink "$outside/a", "$to/more/a";
	} ],
	[ 'directories and files where links should be', sub {
		unlink map { "$to/$_" } qw(pg_wal more/a pg_xact);
		make_path("$to/pg_wal/x", "$to/more/a");
		spew("$to/pg_xact", 'x');
	} ],
	[ 'linked places gone', sub { remove_tree("$new/wal", "$new/xact", "$new/conf") } ],
	[ 'base and global are links to elsewhere', sub {
		remove_tree("$to/base/1", "$to/global");
		symlink $outside, "$to/base/1";
		symlink $outside, "$to/global";
	} ],
	[ 'a parent of links is a link', sub { remove_tree("$to/more"); symlink $outside, "$to/more" } ],
) {
	my ($name, $bend) = @$case;
	$bend->();
	restore('--delta', @all, @links, { name => "$name: delta" });
	same_tree(\%plain, { seen($to) }, "$name: the tree is right") or last;
	same_tree($untouched, snapshot($outside), "$name: nothing else was touched") or last;
	link_is('pg_wal', "$new/wal/deep");
}
ok(!-e "$new/conf/neighbour" || slurp("$new/conf/neighbour") eq 'x', 'a linked file\'s neighbour is left alone');

restore('--delta', @all, { name => 'delta without the links', like => qr/remove invalid link '\Q$to\E\/pg_xact'/ });
same_tree(\%plain, { seen($to) }, 'all is in place again');
ok(!-l "$to/$_", "$_ is no link any more") for qw(pg_wal pg_hba.conf pg_xact more/sub more/a);
ok(-e "$new/xact/0000", 'what the link led to stays');
restore('--delta', @all, "--link-map=pg_xact=$new/xact2", { name => 'delta with a new link' });
same_tree(\%plain, { seen($to) }, 'the same content behind it');
mkdir "$new/conf/dir", 0700;
refused('--delta', @all, "--link-map=pg_hba.conf=$new/conf/dir", { code => 93, like => qr/a directory is there/,
	name => 'a file link to a directory that is there' });

# --- links as they were, in the original's place ---

$pg->stop;
my %original = seen($data);
my $wiped = sub { remove_tree($data, "$ext/wal", "$ext/log", map { "$top/s$_/$folder" } 1 .. 3); unlink "$ext/conf/hba" };
spew("$ext/conf/stranger", 'x');
$wiped->();
$stanza->run_ok('restore', '--link-all', { name => 'restore with all links', unlike => qr/will be restored (as a file|in a directory)/ });
is(readlink "$data/$_->[0]", $_->[1], "$_->[0] is the link it was")
	for [ pg_wal => "$ext/wal" ], [ log => "$ext/log" ], [ 'pg_hba.conf' => "$ext/conf/hba" ];
is(slurp("$ext/conf/stranger"), 'x', 'the neighbour of a linked file is left alone');
is(slurp("$ext/log/old"), "old\n" x 100, 'the content is where the link leads');
$pg->start;
$pg->wait_for_recovery_end;
is($pg->psql('SELECT count(*) FROM in_s3'), 2000, 'the server runs');
$pg->stop;
$stanza->run_ok('restore', '--link-all', '--delta', { name => 'delta over the used cluster' });
$wiped->();
$stanza->run_ok('restore', '--link-all', "--link-map=log=$ext/log2", { name => 'all links, one mapped' });
is(readlink "$data/log", "$ext/log2", 'the mapped one leads elsewhere');
is(readlink "$data/pg_wal", "$ext/wal", 'the others do not');

# --- manifests that lead astray ---

my ($label) = $stanza->labels;
my $manifest = $stanza->path("repo/backup/demo/$label/backup.manifest");
my $text = slurp($manifest);

# The text with its checksum made right again.
sub sealed {
	my ($lines, $stream, $section) = (shift, '{', undef);
	$lines =~ s/\n\[backrest\]\nbackrest-checksum=.*//s;
	for (split /\n/, $lines) {
		if (/^\[(.*)\]\z/) {
			$stream .= (defined $section ? '},' : '') . "\"$1\":{";
			$section = $1;
		} elsif (/^(.*?)=(.*)\z/) {
			$stream .= (substr($stream, -1) eq '{' ? '' : ',') . "\"$1\":$2";
		}
	}
	return "$lines\n[backrest]\nbackrest-checksum=\"" . sha1_hex("$stream}}") . "\"\n";
}
is(sealed($text), $text, 'the checksum is understood');
for my $case (
	[ 'a tablespace\'s link and target differ', sub { s{^(pg_tblspc/$oids[0]=\{"path":")[^"]*}{$1$outside}m }, 29, qr/leads elsewhere than its target/,
		map { "--tablespace-map=s$_=$new/$_" } 2, 3 ],
	[ 'another folder in a tablespace', sub { s{^pg_tblspc/$oids[2]/\Q$folder\E}{pg_tblspc/$oids[2]/sub}mg }, 29,
		qr/is not in the tablespace's folder/ ],
	[ 'a file directly in a tablespace', sub { s{^(pg_tblspc/$oids[2])/\Q$folder\E/\d+/\d+=}{$1/zz=}m }, 29,
		qr/is not in the tablespace's folder/ ],
	[ 'a tablespace name that is a way out', sub { s{("tablespace-name":")s1"}{$1../../x"} }, 76,
		qr{tablespace name '\.\./\.\./x' cannot be the name of a folder} ],
	[ 'a tablespace in the data directory', sub { s{"$top/s1"}{"$to/base"}g }, 70, qr/is in PGDATA/, map { "--tablespace-map=s$_=$new/$_" } 2, 3 ],
) {
	my ($name, $change, $code, $like, @options) = @$case;
	local $_ = $text;
	$change->();
	isnt($_, $text, "$name: the manifest is another");
	spew($manifest, sealed($_));
	fresh();
	refused(@options ? @options : @all, { code => $code, like => $like, name => $name });
	ok(!-e $to && !glob("$new/*"), "$name: nothing was made");
	same_tree($untouched, snapshot($outside), "$name: nothing else was touched");
}
spew($manifest, $text);
fresh();
restore(@all, { name => 'the true manifest again' });

done_testing();
