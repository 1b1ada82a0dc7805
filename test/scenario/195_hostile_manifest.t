# A manifest whose checksum is right and whose content is made to do harm: names that lead out of the data directory,
# links under which files are to be written, numbers that lie, rows that contradict each other.  Restore refuses it
# before anything is written, names the entry, and nothing outside changes; where only the stored bytes can tell, it
# ends with a directory that cannot be started.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off' } });
my ($source, $target, $space, $new_space, $ext, $canary) = map { work_dir() . "/$_" } qw(source target space new-space ext canary);
my $folder = $pg->version_folder;
make_path(map({ "$source/$_" } qw(global base/1 pg_tblspc)), "$space/$folder/5", $ext, "$canary/dir");
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
spew("$source/base/1/small", 'small');
spew("$space/$folder/5/1", 'x' x 5000);
spew("$ext/file", 'behind a link');
spew("$canary/$_", 'somebody else') for 'file', 'dir/file', 'PG_VERSION';
symlink $space, "$source/pg_tblspc/16500" or die "symlink: $!";
symlink $ext, "$source/ext" or die "symlink: $!";
$stanza->set(demo => { 'pg1-path' => $source });
$stanza->run_ok('stanza-create', '--no-online');
$stanza->run_ok('backup', '--no-online', '--type=full', '--compress-type=none');
my ($label) = $stanza->labels;
my $dir = $stanza->path("repo/backup/demo/$label");
my $manifest = "$dir/backup.manifest";
my $original = slurp($manifest);
my ($row) = $original =~ m{^pg_data/PG_VERSION=(.*)$}m;
my $size = -s "$source/base/1/1259";
# without the tablespace and the link where they are: they are in use
my @restore = ('restore', "--pg1-path=$target", '--link-all');
my @elsewhere = ("--tablespace-map=16500=$new_space", "--link-map=ext=$ext-new");

sub wipe { remove_tree($target, $new_space, "$ext-new") }
sub surroundings {
	return { map { my $place = $_; my $tree = snapshot($place); map { ("$place/$_" => $tree->{$_}) } keys %$tree }
		$canary, $space, $ext, $source };
}
my $surroundings = surroundings();
my $beside = join ' ', sort grep { !/run\.|target|-new|new-/ } glob work_dir() . '/*';

# To be called in an edit, where $_ is the text of the manifest.
sub add {
	my ($section, $line) = @_;
	s/^\[\Q$section\E\]\n\K/$line\n/m or s/(?=\n\[backrest\]\nbackrest-checksum)/\n[$section]\n$line\n/ or die "no place for $line";
}
sub change {
	my ($from, $to) = @_;
	s/$from/$to/m or die "no $from in the manifest";
}
sub change_row {
	my ($name, $from, $to) = @_;
	s/^(\Q$name\E=.*)$from/$1$to/m or die "no $from in the row of $name";
}

sub run_with_manifest {
	my ($edit, @options) = @_;
	spew($_, $original) for $manifest, "$manifest.copy";
	edit_info_file($manifest, $edit);
	wipe();
	return $stanza->run(@restore, @options);
}

sub nothing_outside {
	my @wrong = map { "outside: $_" } tree_diff($surroundings, surroundings());
	my $now = join ' ', sort grep { !/run\.|target|-new|new-/ } glob work_dir() . '/*';
	push @wrong, "beside the target: $now" if $now ne $beside;
	return @wrong;
}

# Refused before anything is written.
sub refused {
	my ($name, $like, $edit, @options) = @_;
	my ($code, $out, $err) = run_with_manifest($edit, @options ? @options : @elsewhere);
	my @wrong = nothing_outside();
	push @wrong, "exit $code" if $code < 26 || $code > 106;
	push @wrong, "the message is not like $like" if "$out$err" !~ /ERROR: \[\d+\]: .*$like/s;
	push @wrong, 'something was written' if -e "$target/PG_VERSION" || glob("$target/* $new_space/* $ext-new/*");
	ok(!@wrong, "refused: $name") or diag(join "\n", @wrong, "$out$err");
}

# Only the bytes can tell.
sub fails {
	my ($name, $like, $edit) = @_;
	my ($code, $out, $err) = run_with_manifest($edit, @elsewhere);
	my @wrong = nothing_outside();
	push @wrong, "exit $code" if $code < 26 || $code > 106;
	push @wrong, "the message is not like $like" if "$out$err" !~ /ERROR: \[\d+\]: .*$like/s;
	push @wrong, 'the directory can be started' if -e "$target/global/pg_control";
	ok(!@wrong, "fails: $name") or diag(join "\n", @wrong, "$out$err");
}

my ($code, $out, $err) = run_with_manifest(sub { }, @elsewhere);
is($code, 0, 'the manifest with its checksum made anew restores') or diag("$out$err");
is(slurp("$new_space/$folder/5/1"), 'x' x 5000, 'the tablespace too');

# --- names ---

my @names = ("pg_data/../canary/x", "pg_data/base/../../canary/x", '../canary/x', "$canary/x", '/etc/x', 'pg_data/./x', 'pg_data//x',
	'pg_data/x/', 'pg_data/..', 'pg_data/.', 'pg_data', '/', '.', '..', 'x', 'pg_datax/x', 'PG_DATA/x', 'pg_tblspc', 'pg_tblspc/16500',
	"pg_tblspc/16500/../x", 'pg_tblspc/../x', 'pg_tblspc//x', 'pg_tblspc/x/y', 'pg_tblspc/16500/x', "pg_tblspc/16500/PG_9.6_201608131/x",
	"pg_tblspc/16501/$folder/x", 'pg_data/no/parent', 'pg_data/pg_tblspc/16500/x', 'pg_data/base', 'pg_data/PG_VERSION/x');
for my $name (@names) {
	refused("file '$name'", qr/\Q$name\E/, sub { add('target:file', "$name=$row") });
}
for my $name (grep { !m{^(pg_data|pg_data/base|pg_tblspc|pg_tblspc/16500|pg_data/PG_VERSION/x)$} } @names) {
	refused("path '$name'", qr/\Q$name\E/, sub { add('target:path', "$name={}") });
}
refused('a file whose name is empty', qr/backup\.manifest/, sub { add('target:file', "=$row") });
refused('a name with a zero byte', qr/backup\.manifest|pg_data/, sub { add('target:file', "pg_data/x\0/../../y=$row") });
refused('a path that is a file too', qr/pg_data\/PG_VERSION/, sub { add('target:path', 'pg_data/PG_VERSION={}') });
refused('a file twice', qr/pg_data\/PG_VERSION/, sub { add('target:file', "pg_data/PG_VERSION=$row") });
refused('a path twice', qr/pg_data\/base/, sub { add('target:path', 'pg_data/base={}') });
refused('a file in a path that is not listed', qr/pg_data\/base\/1/, sub { change('^pg_data/base/1=.*\n', '') });
refused('no data directory', qr/pg_data/, sub { change('(?<=\[target:path\]\n)pg_data=.*\n', '') });
refused('a very long name', qr/pg_data\/x\/x/, sub { add('target:file', 'pg_data/' . 'x/' x 3000 . "y=$row") });

# --- links and tablespaces ---

my $link_row = qr/^pg_data\/ext=\{"destination":"\Q$ext\E"/m;
refused('a link that leads elsewhere than its target', qr/ext/, sub { change($link_row, qq(pg_data/ext={"destination":"$canary")) },
	$elsewhere[0]);
refused('a link without a target', qr/pg_data\/evil/, sub { add('target:link', qq(pg_data/evil={"destination":"$canary"})) });
refused('a target without a link', qr/target|evil/, sub { add('backup:target', qq(pg_data/evil={"path":"$canary","type":"link"})) });
refused('a file below a link that is not the backup\'s', qr/pg_data\/evil/, sub {
	add('target:link', qq(pg_data/evil={"destination":"$canary"}));
	add('target:file', "pg_data/evil/file=$row");
});
refused('a link where a file is', qr/PG_VERSION/, sub {
	add('target:link', qq(pg_data/PG_VERSION={"destination":"$canary/dir"}));
	add('backup:target', qq(pg_data/PG_VERSION={"path":"$canary/dir","type":"link"}));
});
for my $name ('pg_data/../canary/link', "$canary/link", 'pg_data', 'x', 'pg_tblspc/7') {
	refused("link '$name'", qr/\Q$name\E/, sub {
		add('target:link', qq($name={"destination":"$ext"}));
		add('backup:target', qq($name={"path":"$ext","type":"link"}));
	});
}
sub lead { my ($name, $to) = @_; return sub {
	my $link = $name eq 'ext' ? 'pg_data/ext' : 'pg_data/pg_tblspc/16500';
	my $in = $name eq 'ext' ? 'pg_data/ext' : 'pg_tblspc/16500';
	change(qr/^\Q$link\E=\{"destination":"[^"]*"/m, qq($link={"destination":"$to"));
	change(qr/^\Q$in\E=\{"path":"[^"]*"/m, qq($in={"path":"$to"));
} }
for my $name ('ext', 'tablespace') {
	my $shown = $name eq 'ext' ? qr/ext/ : qr/16500|canary|source/;
	my @other = $name eq 'ext' ? $elsewhere[0] : $elsewhere[1];
	refused("$name leads into the data directory", $shown, lead($name, "$target/base"), @other);
	refused("$name is the data directory", $shown, lead($name, $target), @other);
	refused("$name leads above the data directory", $shown, lead($name, work_dir()), @other);
	refused("$name is /", $shown, lead($name, '/'), @other);
	refused("$name leads into the data directory by a detour", $shown, lead($name, "$canary/../target/base"), @other);
	refused("$name leads to nothing", qr/16500|ext/, lead($name, ''), @other);
}
refused('a link leads to somebody else\'s files', qr/contains files/, lead('ext', $canary), $elsewhere[0]);
refused('a relative link leads into the data directory', qr/ext/, lead('ext', 'base'), $elsewhere[0]);
refused('a tablespace whose number is not its name', qr/16500/, sub { change('"tablespace-id":"16500"', '"tablespace-id":"16501"') });
refused('a file link with a path', qr/evil/, sub {
	add('target:link', qq(pg_data/evil={"destination":"$canary/../canary/file"}));
	add('backup:target', qq(pg_data/evil={"file":"../canary/file","path":"$canary","type":"link"}));
	add('target:file', "pg_data/evil=$row");
});

# --- what is told of files ---

my $file = 'pg_data/base/1/1259';
for my $case (map({ [ "mode $_", '\{', qq({"mode":"$_",) ] } qw(17777 888 -1 rwx), ''),
	map({ [ "checksum '$_'", '"checksum":"[^"]*"', qq("checksum":"$_") ] } '', 'abcd', 'a' x 39, 'a' x 41, 'g' x 40, '../' x 13 . 'x'),
	map({ [ "size $_", '"size":\d+', qq("size":$_) ] } qw(-1 9223372036854775808 18446744073709551616 1e3 "5" null)),
	map({ [ "repo-size $_", '"size":', qq("repo-size":$_,"size":) ] } qw(-1 9223372036854775808 18446744073709551616)),
	[ 'offset without a bundle', '\{', '{"bno":5,' ],
	[ 'offset beyond all', '\{', '{"bni":1,"bno":9223372036854775807,' ],
	[ 'number of a bundle', '\{', '{"bni":4294967296,' ],
	[ 'blocks', '\{', '{"bi":16,"bim":99999999999,' ]) {
	my ($name, $from, $to) = @$case;
	refused($name, qr/\Q$file\E|backup\.manifest/, sub { change_row($file, $from, $to) });
}
refused('no checksum', qr/\Q$file\E/, sub { change_row($file, '"checksum":"[^"]*",', '') });
for my $reference ('../../x', '/etc', '', $label . '/../x', '20200101-000000F') {
	refused("reference '$reference'", qr/\Q$reference\E/, sub { change_row($file, '"size":', qq("reference":"$reference","size":)) });
	refused("listed reference '$reference'", qr/\Q$reference\E|reference/, sub {
		change_row($file, '"size":', qq("reference":"$reference","size":));
		change('^backup-reference=.*', qq(backup-reference="$reference,$label"));
	});
}
refused('the label of another backup', qr/\Q$label\E/, sub { s/\Q$label\E/20200101-000000F/g });
refused('a label that is a path', qr/\.\.\/x/, sub { s/\Q$label\E/..\/x/g });
refused('a type that is not the label\'s', qr/incr/, sub { change('^backup-type=.*', 'backup-type="incr"') });
refused('a version that is a path', qr/version|backup\.manifest/, sub { change('^db-version=.*', 'db-version="../../x"') });
refused('a codec of its own', qr/backup\.manifest|compress/, sub { change('^option-compress-type=.*', 'option-compress-type="../x"') });

($code, $out, $err) = run_with_manifest(sub { change_row($file, '\{', '{"user":"../../x","group":"/etc",') }, @elsewhere);
ok($code == 0 && !nothing_outside(), 'an owner that is nobody\'s name means nothing to an ordinary user') or diag("$out$err");

# --- what only the bytes tell ---

make_path("$dir/bundle");
cp("$dir/$file", "$dir/bundle/1") or die "cp: $!";
fails('larger than what is stored', qr/1259/, sub { change_row($file, '"size":\d+', '"size":' . ($size + 1)) });
fails('far larger', qr/1259/, sub { change_row($file, '"size":\d+', '"size":1125899906842624') });
fails('smaller than what is stored', qr/1259/, sub { change_row($file, '"size":\d+', '"size":' . ($size - 1)) });
fails('the checksum of another file', qr/1259/, sub { change_row($file, '"checksum":"[^"]*"', '"checksum":"' . 'a' x 40 . '"') });
fails('a bundle that is too short', qr/bundle\/1|1259/, sub { change_row($file, '\{', '{"bni":1,"bno":1,') });
fails('beyond the end of a bundle', qr/bundle\/1|1259/, sub { change_row($file, '\{', '{"bni":1,"bno":99999999,') });
fails('a bundle that is missing', qr/bundle\/77/, sub { change_row($file, '\{', '{"bni":77,') });
fails('a file that is missing', qr/nowhere/, sub { add('target:file', "pg_data/nowhere=$row") });
fails('a codec that it is not', qr/pg_data|\Q$target\E/, sub { change('^option-compress-type=.*', 'option-compress-type="gz"') });
($code, $out, $err) = run_with_manifest(sub { change_row($file, '\{', '{"bni":1,') }, @elsewhere);
is($code, 0, 'a row of a bundle that tells the truth restores') or diag("$out$err");

done_testing();
