# PgStrata::History: repositories with years of backups and WAL, invented at random, for tests of retention.
#
#	my $history = PgStrata::History->new(seed => 7, sets => 5);
#	$history->write($stanza->path('repo'));
#	$history->{backups};		labels and what is known of them, oldest first
#	my @lines = $history->lost($repo, @labels);	what these backups would miss
#
# Always true: what is written is what both programs can read: info files with right checksums, a manifest that loads
# for each complete backup, its files with right contents.  Only WAL segments hold a few bytes.  The same seed and
# limits give the same repository.  Labels are in UTC: set TZ.
#
# The story: clusters follow each other (history ids); each makes full backups with diffs and incrs on them, mostly
# online, pushes WAL, is promoted now and then (a new timeline, a history file, some more WAL on the old one).
package PgStrata::History;
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use File::Path qw(make_path);
use JSON::PP ();
use POSIX ();
use PgStrata;
use PgStrata::Interop qw(info_checksum);

use constant DAY => 86_400;

my $json = JSON::PP->new->canonical;
my @versions = ([ '13', 1300, 202007201 ], [ '14', 1300, 202107181 ], [ '15', 1300, 202209061 ]);

# new(seed =>, sets => most full backups, clusters => most history ids, wal => most segments between two backups,
# now => Unix time of the end, days => between two full backups, at most; errors => odds of damaged pages;
# leftovers => 0: no unlisted folders, regular => 1: online, no gaps)
sub new {
	my ($class, %how) = @_;
	my $self = bless { sets => 4, clusters => 3, wal => 4, days => 20, now => time, errors => 0.05, leftovers => 1, %how,
		backups => [], wal_files => {}, leftover => [], manifests => [], stanza => 'demo' }, $class;
	srand $self->{seed};
	$self->{clusters} = 1 + int rand $self->{clusters};
	$self->tell;
	return $self;
}

# told(wal => LAST, backups => [ 'F20 1-2', 'D19 4-4', 'I18', 'F10@2 5-6 bad' ]): not invented but told: type, days before
# now, @history id, first and last segment (none: offline), and whether it has damaged pages.  Segments 1..LAST of
# timeline 1 are archived for each history id.
sub told {
	my ($class, %how) = @_;
	my $self = bless { now => time, clusters => 1, wal => 0, %how, backups => [], wal_files => {}, leftover => [], manifests => [],
		stanza => 'demo' }, $class;
	my ($full, $newest);
	for my $word (@{$how{backups}}) {
		my ($letter, $days, $id, $first, $last, $bad) = $word =~ /^([FDI])(\d+)(?:@(\d+))?(?: (\d+)-(\d+))?( bad)?$/ or die "'$word'";
		my $start = $self->{now} - $days * DAY - 100;
		my $base = { F => undef, D => $full, I => $newest }->{$letter};
		my $b = { label => $base ? substr($base->{label}, 0, 16) . '_' . stamp($start) . $letter : stamp($start) . 'F',
			type => { F => 'full', D => 'diff', I => 'incr' }->{$letter}, id => $id // 1, start => $start, stop => $start + 60,
			prior => $base ? $base->{label} : undef, refs => $base ? [ @{$base->{refs}}, $base->{label} ] : [],
			error => $bad ? 1 : 0 };
		($b->{first}, $b->{last}) = map { segment({ timeline => 1 }, $_) } $first, $last if defined $first;
		$self->{clusters} = $b->{id} if $b->{id} > $self->{clusters};
		$full = $b if $letter eq 'F';
		$newest = $b;
		push @{$self->{backups}}, $b;
		push @{$self->{manifests}}, $b->{label};
	}
	for my $id (1 .. $self->{clusters}) {
		$self->push_wal({ id => $id }, segment({ timeline => 1 }, $_)) for 1 .. $self->{wal};
	}
	return $self;
}

sub labels { my ($self) = @_; return map { $_->{label} } @{$self->{backups}} }

sub chance { my ($self, $odds) = @_; return rand() < ($self->{regular} ? 0 : $odds) }
sub stamp { return POSIX::strftime('%Y%m%d-%H%M%S', gmtime $_[0]) }
sub archive_id { my ($id) = @_; return "$versions[$id - 1][0]-$id" }

sub segment { my ($w, $number) = @_; return sprintf '%08X%08X%08X', $w->{timeline}, $number >> 8, $number & 255 }
sub push_wal {
	my ($self, $w, $name) = @_;
	$name .= '-' . sha1_hex($name) . ('', '.gz', '.zst')[ rand 3 ] if $name !~ /\.(backup|history)$/;
	$self->{wal_files}{archive_id($w->{id})}{$name} = 1;
}

# So many segments are archived, a few are lost, some wait at the edge of a 4 GiB of names.
sub write_wal {
	my ($self, $w, $count) = @_;
	for (1 .. $count) {
		$w->{segment}++;
		$self->push_wal($w, segment($w, $w->{segment})) if !$self->chance(0.03);
	}
	$w->{segment} += int rand 600 if $self->chance(0.1);
}

# A promotion, perhaps while the old primary goes on archiving.
sub promote {
	my ($self, $w) = @_;
	$self->push_wal($w, segment($w, $w->{segment} + 1) . '.partial') if $self->chance(0.7);
	if ($self->chance(0.5)) {
		$self->push_wal($w, segment($w, $w->{segment} + $_)) for 1 .. 1 + int rand 3;
	}
	$w->{timeline}++;
	$self->push_wal($w, sprintf '%08X.history', $w->{timeline});
}

# One backup; base: the one it depends on, undef for a full one.
sub take {
	my ($self, $w, $type, $base) = @_;
	my $start = $w->{time} += 60 + int rand 3 * 3600;
	my $label = stamp($start) . 'F';
	$label = substr($base->{label}, 0, 16) . '_' . stamp($start) . ($type eq 'diff' ? 'D' : 'I') if $base;
	my %b = (label => $label, type => $type, id => $w->{id}, start => $start, stop => $start + int rand 7200,
		prior => $base ? $base->{label} : undef, error => $self->chance($self->{errors}) ? 1 : 0,
		refs => $base ? [ @{$base->{refs}}, $base->{label} ] : []);
	if (!$self->chance(0.12)) {
		$w->{segment}++;
		$b{first} = segment($w, $w->{segment});
		$self->push_wal($w, $b{first});
		$self->push_wal($w, sprintf '%s.%08X.backup', $b{first}, 40);
		$self->write_wal($w, int rand 3);
		$b{last} = segment($w, $w->{segment});
		$self->push_wal($w, $b{last});
	}
	$w->{time} = $b{stop} + 1;
	push @{$self->{manifests}}, $label;
	push @{$self->{backups}}, \%b if !$w->{forgotten};
	return \%b;
}

# A full backup and what is based on it.  An incr follows the newest backup of its set, a diff the full one.
sub take_set {
	my ($self, $w, $most) = @_;
	my $full = $self->take($w, 'full');
	my $newest = $full;
	for (1 .. rand $most) {
		$self->write_wal($w, int rand $self->{wal});
		$self->promote($w) if $self->chance(0.08);
		my $type = rand() < 0.4 ? 'diff' : 'incr';
		$newest = $self->take($w, $type, $type eq 'diff' ? $full : $newest);
	}
}

sub tell {
	my ($self) = @_;
	my @sets = map { 1 + int rand $self->{sets} } 1 .. $self->{clusters};
	my $total = 0;
	$total += $_ + 1 for @sets;
	my %w = (time => $self->{now} - $total * $self->{days} * DAY);
	for my $id (1 .. $self->{clusters}) {
		@w{qw(id timeline segment)} = ($id, 1, 3 + int rand 300);
		$self->{wal_files}{archive_id($id)} = {} if rand() < 0.9;
		next if $self->chance(0.15);
		for my $set (1 .. $sets[$id - 1]) {
			$self->write_wal(\%w, int rand $self->{wal});
			$w{forgotten} = $self->chance(0.08);
			$self->take_set(\%w, 6);
			$self->promote(\%w) if $self->chance(0.2);
			$w{time} += int rand $self->{days} * DAY;
		}
		$self->write_wal(\%w, int rand $self->{wal});
	}
	$self->leave_behind(\%w) if $self->{leftovers};
}

# Folders of backups that did not end, in the middle and at the end: with or without manifest copy.
sub leave_behind {
	my ($self, $w) = @_;
	my @known = @{$self->{backups}};
	for my $b (grep { rand() < 0.1 } @known) {
		my $time = $b->{stop} + 1;
		push @{$self->{leftover}}, { label => rand() < 0.5 ? stamp($time) . 'F' : substr($b->{label}, 0, 16) . '_'
			. stamp($time) . 'I', prior => $b->{label}, copy => rand() < 0.6 };
	}
	if (@known && rand() < 0.5) {
		my $last = $known[-1];
		my $full = rand() < 0.3;
		my $start = $w->{time} + 5;
		push @{$self->{leftover}}, { label => $full ? stamp($start) . 'F' : substr($last->{label}, 0, 16) . '_' . stamp($start) . 'I',
			prior => $full ? undef : $last->{label}, copy => rand() < 0.8, start => $start, id => $last->{id} };
	}
}

# --- writing ---

sub info_text {
	my (@sections) = @_;
	my $text = "[backrest]\nbackrest-format=5\nbackrest-version=\"2.45\"\n";
	while (my ($name, $lines) = splice @sections, 0, 2) {
		$text .= join "\n", "\n[$name]", @$lines, '' if @$lines;
	}
	return $text . "\n[backrest]\nbackrest-checksum=\"" . info_checksum($text) . "\"\n";
}

sub system_id { return 7_000_000_000_000_000_000 + $_[0] }
sub db_line {
	my ($id, $current) = @_;
	my ($version, $control, $catalog) = @{$versions[$id - 1]};
	return $current ? ("db-catalog-version=$catalog", "db-control-version=$control", "db-id=$id", 'db-system-id=' . system_id($id),
		"db-version=\"$version\"") : "$id={\"db-catalog-version\":$catalog,\"db-control-version\":$control,\"db-system-id\":"
		. system_id($id) . ",\"db-version\":\"$version\"}";
}

my @flags = map { "option-$_" } qw(archive-check archive-copy backup-standby checksum-page compress hardlink online);

sub backup_line {
	my ($b) = @_;
	my %line = ('backrest-format' => 5, 'backrest-version' => '2.45', 'backup-archive-start' => $b->{first},
		'backup-archive-stop' => $b->{last}, 'backup-info-repo-size' => 3, 'backup-info-repo-size-delta' => 3,
		'backup-info-size' => 3, 'backup-info-size-delta' => 3, 'backup-timestamp-start' => 0 + $b->{start},
		'backup-timestamp-stop' => 0 + $b->{stop}, 'backup-type' => $b->{type}, 'db-id' => $b->{id},
		'backup-error' => $b->{error} ? JSON::PP::true : JSON::PP::false, map { $_ => JSON::PP::false } @flags);
	if ($b->{first}) {
		$line{'option-online'} = JSON::PP::true;
		@line{qw(backup-lsn-start backup-lsn-stop)} = ('0/28', '0/50');
	}
	@line{qw(backup-prior backup-reference)} = ($b->{prior}, $b->{refs}) if $b->{prior};
	return "$b->{label}=" . $json->encode(\%line);
}

# The file that only this backup has, and the files of those that it depends on.
sub content { return "data of $_[0]" }
sub manifest_text {
	my ($b, $complete) = @_;
	my ($version, $control, $catalog) = @{$versions[$b->{id} - 1]};
	my @files = sort map {
		my $text = content($_);
		my $from = $_ eq $b->{label} ? '' : ",\"reference\":\"$_\"";
		"pg_data/$_={\"checksum\":\"" . sha1_hex($text) . "\"$from,\"size\":" . length($text) . ',"timestamp":1600000000}';
	} @{$b->{refs}}, $b->{label};
	return info_text(
		backup => [ ($b->{first} && $complete ? ("backup-archive-start=\"$b->{first}\"", "backup-archive-stop=\"$b->{last}\"") : ()),
			"backup-label=\"$b->{label}\"", ($b->{first} && $complete ? ('backup-lsn-start="0/28"', 'backup-lsn-stop="0/50"') : ()),
			($b->{prior} ? "backup-prior=\"$b->{prior}\"" : ()), 'backup-reference="' . join(',', @{$b->{refs}}, $b->{label}) . '"',
			"backup-timestamp-copy-start=$b->{start}", "backup-timestamp-start=$b->{start}",
			'backup-timestamp-stop=' . ($complete ? $b->{stop} : 0), "backup-type=\"$b->{type}\"" ],
		'backup:db' => [ "db-catalog-version=$catalog", "db-control-version=$control", "db-id=$b->{id}",
			'db-system-id=' . system_id($b->{id}), "db-version=\"$version\"" ],
		'backup:option' => [ 'option-archive-check=false', 'option-archive-copy=false', 'option-backup-standby=false',
			'option-buffer-size=1048576', 'option-checksum-page=false', 'option-compress=false', 'option-compress-level=0',
			'option-compress-level-network=1', 'option-compress-type="none"', 'option-delta=false', 'option-hardlink=false',
			'option-online=' . ($b->{first} ? 'true' : 'false'), 'option-process-max=1' ],
		'backup:target' => [ 'pg_data={"path":"/mnt/pg","type":"path"}' ],
		'target:file' => \@files,
		'target:file:default' => [ 'group="postgres"', 'mode="0600"', 'user="postgres"' ],
		'target:path' => [ 'pg_data={}' ],
		'target:path:default' => [ 'group="postgres"', 'mode="0700"', 'user="postgres"' ]);
}

sub put { my ($text, @files) = @_; spew($_, $text) for @files; }

# Write all of it below the folder of a repository.
sub write {
	my ($self, $repo) = @_;
	my ($archive, $backup) = map { "$repo/$_/$self->{stanza}" } qw(archive backup);
	make_path($archive, $backup);
	my @ids = 1 .. $self->{clusters};
	put(info_text(db => [ "db-id=$ids[-1]", 'db-system-id=' . system_id($ids[-1]), "db-version=\"$versions[$ids[-1] - 1][0]\"" ],
		'db:history' => [ map { "$_={\"db-id\":" . system_id($_) . ",\"db-version\":\"$versions[$_ - 1][0]\"}" } @ids ]),
		"$archive/archive.info", "$archive/archive.info.copy");
	put(info_text('backup:current' => [ map { backup_line($_) } sort { $a->{label} cmp $b->{label} } @{$self->{backups}} ],
		db => [ db_line($ids[-1], 1) ], 'db:history' => [ map { db_line($_, 0) } @ids ]), "$backup/backup.info", "$backup/backup.info.copy");
	$self->write_backup($backup, $_) for @{$self->{backups}};
	$self->write_leftover($backup, $_) for @{$self->{leftover}};
	for my $label (@{$self->{manifests}}) {
		my $folder = "$backup/backup.history/" . substr $label, 0, 4;
		make_path($folder);
		spew("$folder/$label.manifest.gz", 'history');
	}
	symlink $self->{backups}[-1]{label}, "$backup/latest" or die "symlink: $!" if @{$self->{backups}};
	for my $id (keys %{$self->{wal_files}}) {
		make_path("$archive/$id");
		for my $name (keys %{$self->{wal_files}{$id}}) {
			my $folder = $name =~ /history$/ ? "$archive/$id" : "$archive/$id/" . substr $name, 0, 16;
			make_path($folder);
			spew("$folder/$name", $name);
		}
	}
}

sub write_backup {
	my ($self, $place, $b) = @_;
	make_path("$place/$b->{label}/pg_data");
	spew("$place/$b->{label}/pg_data/$b->{label}", content($b->{label}));
	put(manifest_text($b, 1), map { "$place/$b->{label}/backup.manifest$_" } '', '.copy');
}

sub write_leftover {
	my ($self, $place, $l) = @_;
	make_path("$place/$l->{label}/pg_data");
	spew("$place/$l->{label}/pg_data/half", 'half');
	return if !$l->{copy};
	my ($base) = grep { defined $l->{prior} && $_->{label} eq $l->{prior} } @{$self->{backups}};
	my $diff = length $l->{label} > 16;
	put(manifest_text({ label => $l->{label}, type => $diff ? 'incr' : 'full', id => $l->{id} // ($base ? $base->{id} : 1),
		start => 1_600_000_000, stop => 0, refs => $diff ? [ @{$base->{refs}}, $base->{label} ] : [],
		prior => $diff ? $l->{prior} : undef }), "$place/$l->{label}/backup.manifest.copy");
}

# --- judging ---

sub backup_named { my ($self, $label) = @_; return (grep { $_->{label} eq $label } @{$self->{backups}})[0] }

# What these backups miss in the repository: files of their own, of those that they depend on, and WAL from start to stop.
sub lost {
	my ($self, $repo, @labels) = @_;
	my @lost;
	for my $label (@labels) {
		my $b = $self->backup_named($label) or push(@lost, "$label was never made"), next;
		for my $needed (@{$b->{refs}}, $label) {
			my $file = "$repo/backup/$self->{stanza}/$needed/pg_data/$needed";
			push @lost, "$label: $file" if !-e $file || slurp($file) ne content($needed);
		}
		my $manifest = "$repo/backup/$self->{stanza}/$label/backup.manifest";
		push @lost, "$label: $manifest" if !-e $manifest || slurp($manifest) ne manifest_text($b, 1);
		next if !$b->{first};
		my $id = archive_id($b->{id});
		for my $name (keys %{$self->{wal_files}{$id}}) {
			my $segment = substr $name, 0, 24;
			next if $name =~ /history$/ || $segment lt $b->{first} || $segment gt $b->{last};
			my $file = "$repo/archive/$self->{stanza}/$id/" . substr($name, 0, 16) . "/$name";
			push @lost, "$label: $file" if !-e $file;
		}
	}
	return @lost;
}

1;
