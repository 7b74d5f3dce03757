# Each operation on files fails once, with an error and with a kill, in init,
# backup, archiving, restore and expire. After each failure the repository verifies
# and doing it again succeeds.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use Omb;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shim = "$ENV{OMB_BIN}/faultshim.so";
ok(-e $shim, 'the shim is built') or BAIL_OUT('no shim');
my $base = PostgreSQL::Test::Utils::tempdir('faults');
my $log = "$base/fault.log";
my $repo = { dir => "$base/repository", key => "$base/key" };

# A directory as a stopped server leaves it, small: few files, all kinds.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
my $data = "$base/data";
for my $d ('', qw(/global /base /base/5 /pg_wal /pg_wal/archive_status /pg_tblspc))
{
	mkdir "$data$d" or die "$d: $!";
}
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $node->data_dir . "/$_", "$data/$_")
  for qw(PG_VERSION postgresql.conf global/pg_control global/pg_filenode.map);
append_to_file("$data/base/5/$_", chr(65 + $_ % 26) x ($_ * 3000)) for 1 .. 20;
append_to_file("$data/base/5/16384", join '', map { pack 'N*', map { rand(2**32) } 1 .. 1024 } 1 .. 100);
$node->start;
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$node->stop;
PostgreSQL::Test::Utils::system_or_bail('cp', $node->data_dir . "/pg_wal/$segment", "$data/pg_wal/");
my ($system) = `pg_controldata $data` =~ /system identifier: +(\d+)/;
my $number = hex substr $segment, 16;

my $job = "repository=$repo->{dir} key_file=$repo->{key} compression=zstd:1 jobs=1 pgdata=$data "
  . "system_identifier=$system wal_segment_size=16777216";

sub clear_repository { PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $repo->{dir}, $repo->{key}, "$data/omsupply_backup.instance"); return }

# Run the program with the fault; returns its exit status and output.
sub run_with
{
	my ($at, $mode, $input, @command) = @_;
	my ($out, $err) = ('', '');
	unlink $log;
	append_to_file($log, '');
	local %ENV = (%ENV, LD_PRELOAD => $shim, FAULT_AT => $at, FAULT_MODE => $mode, FAULT_LOG => $log,
		OMSUPPLY_BACKUP_REPOSITORY => $repo->{dir}, OMSUPPLY_BACKUP_KEY_FILE => $repo->{key});
	my $h = IPC::Run::start([@command], '<', \$input, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	if ($command[1] eq 'agent')
	{
		# the end of its input would end it at once: wait for its answer
		$h->pump until $out =~ /^(done|error|archived|failed)/m || !$h->pumpable;
		$h->kill_kill if $out =~ /^(archived|failed)/m;
	}
	eval { $h->finish } or 1;
	return ($?, $out, $err);
}
sub fired { return slurp_file($log) =~ /fired/ }

sub agent
{
	my ($at, $mode, $lines) = @_;
	my ($out, $err, $in) = ('', '', $lines);
	unlink $log;
	append_to_file($log, '');
	local %ENV = (%ENV, LD_PRELOAD => $shim, FAULT_AT => $at, FAULT_MODE => $mode, FAULT_LOG => $log);
	my $h = IPC::Run::start([ 'omsupply_backup', 'agent' ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	while ($h->pumpable && $out !~ /^(done|error|archived|failed)/m)
	{
		eval { $h->pump; 1 } or last;
	}
	$h->kill_kill;
	return $out;
}
sub archive { my ($at, $mode) = @_; return agent($at, $mode, "job type=archive $job\narchive file=$segment\n") =~ /^archived/m }
sub backup
{
	my ($at, $mode) = @_;
	my $lsn = sprintf '0/%X', $number * 16777216 + 40;
	my $stop = sprintf '0/%X', $number * 16777216 + 400;
	return agent($at, $mode, "job type=backup $job label=faults kind=full pg_version=150000 data_checksums=0 archive_timeout=5\n"
		  . "start start_lsn=$lsn start_timeline=1 start_time=1\n"
		  . "stop stop_lsn=$stop stop_timeline=1 stop_time=2 backup_label=label tablespace_map=\n") =~ /^done/m;
}
sub restore
{
	my ($at, $mode) = @_;
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', "$base/restored");
	my ($status) = run_with($at, $mode, '', 'omsupply_backup', 'restore', '--pgdata', "$base/restored", '--target-immediate',
		'--jobs', '1', '--backup-manifest');
	return $status == 0;
}
sub expire
{
	my ($at, $mode) = @_;
	return (run_with($at, $mode, '', 'omsupply_backup', 'expire', '--keep-last', '1'))[0] == 0;
}
# Two backups, and WAL that none needs; the repository as it was before.
sub prepare_expire
{
	if (!-e "$base/template")
	{
		clear_repository();
		init(0, '');
		(archive(0, '') && backup(0, '') && backup(0, '')) or die;
		my $old = '000000010000000000000000-' . 'a' x 32;
		append_to_file("$repo->{dir}/wal/00000001/0000000100000000/$old", 'old');
		PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo->{dir}, "$base/template");
	}
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $repo->{dir});
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', "$base/template", $repo->{dir});
	return;
}
# What is listed can be restored; WAL goes only after the backup that is not kept.
sub expired_soundly
{
	my @ids = split /\n/, (program($repo, 'list'))[1] =~ s/^backup .*\n//r =~ s/ .*//gr;
	my @old = glob "$repo->{dir}/wal/*/*/000000010000000000000000-*";
	return 0 if @ids < 1 || @ids > 2 || (@ids == 2 && !@old);
	for my $id (@ids) { return 0 if (program($repo, 'verify', $id))[0] != 0 }
	return 1;
}
# over a directory in which much is wrong; doing it again goes on with what is there
sub delta
{
	my ($at, $mode) = @_;
	if ($mode)
	{
		PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', "$base/restored");
		PostgreSQL::Test::Utils::system_or_bail('cp', '-a', "$base/stale", "$base/restored");
	}
	my ($status) = run_with($at, $mode, '', 'omsupply_backup', 'restore', '--delta', '--pgdata', "$base/restored", '--target-immediate',
		'--jobs', '1', '--backup-manifest');
	return $status == 0;
}
sub make_stale
{
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', "$base/restored", "$base/stale");
	unlink map { "$base/stale/base/5/$_" } 1 .. 3;
	PostgreSQL::Test::Utils::system_or_bail('truncate', '-s', '9000', map { "$base/stale/base/5/$_" } 4, 7, 16384);
	append_to_file("$base/stale/base/5/$_", 'longer') for 5, 6;
	mkdir "$base/stale/strange" or die;
	append_to_file("$base/stale/strange/$_", 'strange') for 1 .. 3;
	return;
}
# What pg_control says must be true: the sign of an unfinished restore, or that
# all is there, or nothing was changed.
sub whole_or_unfinished
{
	my $control = "$base/restored/global/pg_control";
	return 1 if !-e $control || slurp_file($control) =~ /^This data directory is incomplete/;
	return 1 if -e "$base/stale" && system("diff -rq -x pg_control.tmp '$base/stale' '$base/restored' >/dev/null 2>&1") == 0;
	return system("pg_verifybackup -n '$base/restored' >/dev/null 2>&1") == 0;
}
sub init { my ($at, $mode) = @_; return (run_with($at, $mode, '', 'omsupply_backup', 'init'))[0] == 0 }
sub verifies { my ($status, $out, $err) = program($repo, 'verify'); diag("$out$err") if $status; return $status == 0 }

# What a step must hold after a fault.
my %steps = (
	init => { before => \&clear_repository, run => \&init, after => sub { 1 } },
	archive => { before => sub { clear_repository(); init(0, ''); }, run => \&archive, after => \&verifies },
	backup => { before => sub { clear_repository(); init(0, ''); archive(0, '') or die; }, run => \&backup, after => \&verifies },
	expire => { before => \&prepare_expire, run => \&expire, after => \&expired_soundly },
	restore => { before => sub { 1 }, run => \&restore,
		after => \&whole_or_unfinished },
	delta => { before => sub { 1 }, run => \&delta, after => \&whole_or_unfinished },
);
for my $step (qw(init archive backup restore delta expire))
{
	make_stale() if $step eq 'delta';
	for my $mode (qw(errno kill))
	{
		my ($at, @wrong) = (0);
		# the backup of the step before serves all restores
		$steps{$step}{before}->() if $step =~ /restore|delta/;
		while (1)
		{
			$at++;
			$steps{$step}{before}->() unless $step =~ /restore|delta/;
			my $done = $steps{$step}{run}->($at, $mode);
			my $fired = fired();
			push @wrong, "$at: success although pg_control was not synced" if $step =~ /restore|delta/ && $fired && $mode eq 'kill' && $done;
			push @wrong, "$at: the repository does not verify" unless $steps{$step}{after}->();
			last unless $fired;
			# an init that failed at its very end has made the repository
			push @wrong, "$at: doing it again fails"
			  unless $steps{$step}{run}->(0, '') || ($step eq 'init' && (program($repo, 'list'))[0] == 0);
			push @wrong, "$at: the repository does not verify after that" unless $steps{$step}{after}->();
			push @wrong, "$at: something is left"
			  if $step eq 'expire' && (() = glob "$repo->{dir}/{backups/*,wal/*/*/*}") != 2;
			last if @wrong > 3 || $at > 400;
		}
		is("@wrong", '', "$step, $mode: $at operations, each of which failed once");
		cmp_ok($at, '>', 5, "$step, $mode: there were some");
	}
}

done_testing();
