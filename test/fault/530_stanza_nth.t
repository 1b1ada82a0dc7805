# The n-th system call fails, for every n: of stanza-upgrade, annotate, stanza-delete, stop and start.  What is stored is
# the old state or the new one, each state in between can be loaded, nothing that the command has no business with is
# touched, and the same command run again finishes (promises P4, P6, P7, P9; lesson E4).
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Fault;
use Test::More;

my @clusters = map { PgStrata::Cluster->new(name => $_, wal_segsize => 1) } qw(old new);
my $stanza = PgStrata::Stanza->new(cluster => $clusters[0], options => { global => { 'log-level-file' => 'off' } });
my ($repo, $lock, $saved) = ($stanza->path('repo'), $stanza->path('lock'), work_dir() . '/saved');
my @names = qw(archive/demo/archive.info backup/demo/backup.info);
faults_for($stanza);

# Little data directories, so that backups are quick.
my @data = map { work_dir() . "/data$_" } 0, 1;
for my $n (0, 1) {
	make_path("$data[$n]/global");
	cp($clusters[$n]->data . "/$_", "$data[$n]/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
}
my @system_id = map { $_->must('pg_controldata', '-D', $_->data) =~ /system identifier: +(\d+)/ } @clusters;
my ($wal) = glob $clusters[0]->data . '/pg_wal/' . '?' x 24;

sub pg { $stanza->set(demo => { 'pg1-path' => $data[ $_[0] ] }) }
sub save { remove_tree($saved); run_command([ 'cp', '-a', $repo, $saved ]) }
sub prepare {
	remove_tree($repo);
	run_command([ 'cp', '-a', $saved, $repo ]);
	unlink glob "$lock/*.stop";
}

# All files but info files, their copies and leftovers of a killed run.
sub others { return snapshot($repo, ignore => qr{^(archive/demo/archive|backup/demo/backup)\.info}) }
sub strays { return map { "left behind: $_" } grep { /\.tmp$/ } keys %{snapshot($repo)} }
sub copies_differ { return map { "$_ differs from its copy" } grep { slurp("$repo/$_") ne slurp("$repo/$_.copy") } @names }
# What the repository tells, from whichever file; undef if it cannot.
sub told {
	my ($info) = @{$stanza->info};
	return $info->{status}{code} == 0 ? $info : undef;
}

pg(0);
$stanza->run_ok('stanza-create', '--no-online');
$stanza->run_ok('backup', '--no-online', '--type=full', '--annotation=one=1', '--annotation=two=2') for 1, 2;
$stanza->run_ok('archive-push', $wal);
my ($label, $second) = $stanza->labels;
save();
my $others = others();

# --- annotate ---

my @annotate = ('annotate', "--set=$label", '--annotation=one=', '--annotation=three=3');
my %notes = (old => 'one=1 two=2', new => 'three=3 two=2');
sub notes {
	my ($backup) = grep { $_->{label} eq $_[0] } @{(told() // return 'unknown')->{backup}};
	return join ' ', map { "$_=$backup->{annotation}{$_}" } sort keys %{$backup->{annotation}};
}
sweep('annotate', \@annotate, 40, prepare => \&prepare, check => sub {
	my ($code, $action) = @_;
	my @wrong = $action eq 'kill' ? () : strays();
	my $is = notes($label);
	push @wrong, "notes are $is" if $is ne $notes{new} && ($code == 0 || $is ne $notes{old});
	push @wrong, run_again(@annotate);
	push @wrong, 'again: notes are ' . notes($label) if notes($label) ne $notes{new};
	push @wrong, 'notes of the other backup: ' . notes($second) if notes($second) ne $notes{old};
	return (@wrong, copies_differ(), tree_diff($others, others()));
});

# --- stanza-upgrade ---

pg(1);
my @upgrade = qw(stanza-upgrade --no-online);
# The system identifiers that an info file or its copy knows, in order.
sub known {
	my ($text) = @_;
	return join ' ', map { /"db-(?:system-)?id":(\d{9,})/ } $text =~ /^(\d+=.*)$/mg;
}
my %known = (old => $system_id[0], new => "@system_id");
sweep('stanza-upgrade', \@upgrade, 60, prepare => \&prepare, check => sub {
	my ($code, $action) = @_;
	my @wrong = $action eq 'kill' ? () : strays();
	for my $file (map { ($_, "$_.copy") } @names) {
		my $is = known(scalar slurp("$repo/$file"));
		push @wrong, "$file knows $is" if $is ne $known{new} && ($code == 0 || $is ne $known{old});
	}
	my $archive_first = known(scalar slurp("$repo/$names[1]")) eq $known{old} || known(scalar slurp("$repo/$names[0]")) eq $known{new};
	push @wrong, 'backup.info was first' if !$archive_first;
	push @wrong, 'the backups are not listed' if !(told() && $stanza->labels == 2);
	push @wrong, run_again(@upgrade);
	push @wrong, map { "again: $_ knows " . known(scalar slurp("$repo/$_")) } grep { known(scalar slurp("$repo/$_")) ne $known{new} } @names;
	push @wrong, 'again: history: ' . join ' ', map { "$_->{id}:$_->{'system-id'}" } @{told()->{db}} if @{told()->{db}} != 2;
	return (@wrong, copies_differ(), tree_diff($others, others()));
});

# --- stanza-delete ---

my $neighbour = PgStrata::Stanza->new(id => 'demo2', name => 'demo2', cluster => $clusters[0], options => { global => {
	'repo1-path' => $repo, 'lock-path' => $lock, 'log-level-file' => 'off' } });
prepare();
$neighbour->run_ok('stanza-create', '--no-online', { name => 'stanza demo2' });
my $outside = work_dir() . '/outside';
make_path("$outside/deep");
spew("$outside/deep/file", 'precious');
symlink $outside, "$repo/backup/demo/link" or die "symlink: $!";
save();
my %stays = map { $_ => snapshot("$repo/$_/demo2") } qw(archive backup);
sweep('stanza-delete', ['stanza-delete'], 60,
	prepare => sub {
		prepare();
		spew("$lock/demo.stop");
	},
	check => sub {
		my ($code) = @_;
		my @wrong;
		my $there = -e "$repo/archive/demo" || -e "$repo/backup/demo";
		push @wrong, 'success, but something is there' if $code == 0 && ($there || -e "$lock/demo.stop");
		push @wrong, 'the stop file went first' if $there && !-e "$lock/demo.stop";
		my $whole = grep({ -e "$repo/$names[0]$_" } '', '.copy') && grep({ -e "$repo/$names[1]$_" } '', '.copy');
		push @wrong, 'files are gone from what looks like a stanza' if $whole && tree_diff($others,
			snapshot($repo, ignore => qr{(/demo2|/demo/link|/demo/(archive|backup)\.info[^/]*)$}));
		push @wrong, run_again('stanza-delete');
		push @wrong, 'again: something is there' if grep { -e } "$repo/archive/demo", "$repo/backup/demo", "$lock/demo.stop";
		push @wrong, map { tree_diff($stays{$_}, snapshot("$repo/$_/demo2")) } sort keys %stays;
		push @wrong, 'something behind a link is gone' if !-e "$outside/deep/file";
		return @wrong;
	});

# --- stop and start ---

sub no_stop { unlink glob "$lock/*.stop" }
sweep('stop', [ 'stop', '--force' ], 30, prepare => \&no_stop, check => sub {
	my ($code) = @_;
	my @wrong = $code == 0 && !-e "$lock/demo.stop" ? ('success, but no file') : ();
	push @wrong, run_again('stop', '--force');
	push @wrong, 'again: no file' if !-e "$lock/demo.stop";
	return @wrong;
});
sweep('start', ['start'], 20, prepare => sub { spew("$lock/demo.stop") }, check => sub {
	my ($code) = @_;
	my @wrong = $code == 0 && -e "$lock/demo.stop" ? ('success, but the file is there') : ();
	push @wrong, run_again('start');
	push @wrong, 'again: the file is there' if -e "$lock/demo.stop";
	return @wrong;
});

done_testing();
