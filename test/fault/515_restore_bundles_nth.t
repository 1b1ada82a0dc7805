# The n-th system call fails, for every n, while a chain of bundled, encrypted backups is restored, over an empty place
# and over another backup of the chain.  As in 510_restore_nth.t: success means all is there, a failure leaves nothing
# that could be started, and the same restore with --delta gets there.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($source, $target) = map { work_dir() . "/$_" } qw(source target);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'log-level-file' => 'off',
	'compress-type' => 'lz4', 'repo1-bundle' => 'y', 'repo1-bundle-limit' => '8KiB', 'repo1-cipher-type' => 'aes-256-cbc',
	'repo1-cipher-pass' => 'a passphrase' }, demo => { 'pg1-path' => $source } });

faults_for($stanza);

make_path(map { "$source/$_" } qw(global base/1 pg_wal pg_tblspc extra));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
chmod 0700, $source;
sub content {
	my ($name, $seed, $size) = @_;
	spew("$source/extra/$name", join '', map { chr($seed * $_ % 251) } 1 .. $size);
}

content($_, $_, 100 * $_) for 1 .. 20;
content('zero', 1, 0);
$stanza->run_ok(qw(stanza-create --no-online));
$stanza->run_ok(qw(backup --no-online --type=full));
content($_, -$_, 90 * $_) for 4 .. 6;
content('new', 2, 5000);
unlink "$source/extra/20";
$stanza->run_ok(qw(backup --no-online --type=incr));
my ($full, $incr) = $stanza->labels;
cmp_ok(scalar(() = glob $stanza->path("repo/backup/demo/{$full,$incr}/bundle/*")), '>', 1, 'both have bundles');

sub tree {
	my $tree = -d $target ? snapshot($target) : {};
	return { map { ($_ => $tree->{$_} . ($tree->{$_} =~ /^f/ ? ' ' . (stat "$target/$_")[9] : '')) } keys %$tree };
}

my @restore = ('restore', "--pg1-path=$target");
$stanza->run_ok(@restore);
my $whole = tree();
same_tree(snapshot($source), snapshot($target), 'it is what was backed up');

sub check {
	my ($code) = @_;
	my @different = tree_diff($whole, tree());
	my @wrong;
	push @wrong, "success, but @different" if $code == 0 && @different;
	push @wrong, "can be started, but @different" if -e "$target/global/pg_control" && @different;
	push @wrong, run_again(@restore, '--delta', '--force');
	@different = tree_diff($whole, tree());
	push @wrong, "again: @different" if @different;
	return @wrong;
}

sweep('restore of a chain', \@restore, 40, prepare => sub { remove_tree($target) }, check => \&check);

remove_tree($target);
$stanza->run_ok(@restore, "--set=$full");
my ($code) = run_command([ 'cp', '-a', $target, "$target.full" ]);
die 'cp' if $code;
my $of_full = tree();
sweep('restore --delta over the full backup', [ @restore, '--delta' ], 40,
	prepare => sub {
		remove_tree($target);
		run_command([ 'cp', '-a', "$target.full", $target ]);
	},
	# before pg_control is gone, all is as it was: the full backup
	check => sub { return $_[0] && !tree_diff($of_full, tree()) ? () : check(@_) });

done_testing();
