#!/usr/bin/perl
# archive.pl PROGRAM PGDATA REPOSITORY KEY SYSTEM_IDENTIFIER JOBS MODE LIST
#
# Does what the archive module does: starts the agent and asks for one WAL
# file after the other. MODE "backlog": all files have .ready marks from the
# start. MODE "single": each gets its mark only when it is its turn. Prints the
# mean time for a file in milliseconds and the agent's peak memory in kB.
use strict;
use warnings;
use IPC::Open2;
use Time::HiRes qw(time);

my ($program, $pgdata, $repository, $key, $system, $jobs, $mode, $list) = @ARGV;
open my $in, '<', $list or die "$list: $!";
chomp(my @files = <$in>);
my $marks = "$pgdata/pg_wal/archive_status";
unlink glob("$marks/*");

sub mark { my $f = shift; open my $m, '>', "$marks/$f.ready" or die "$f: $!"; }
if ($mode eq 'backlog') { mark($_) for @files; }

my $pid = open2(my $from, my $to, $program, 'agent');
print $to "job type=archive repository=$repository key_file=$key compression=zstd:3 "
  . "jobs=$jobs pgdata=$pgdata system_identifier=$system wal_segment_size=16777216\n";
$to->flush;
my $line = <$from>;
die "agent: $line" unless $line =~ /^ready/;
my $total = 0;
for my $f (@files)
{
	mark($f) if $mode eq 'single';
	my $start = time;
	print $to "archive file=$f\n";
	$to->flush;
	$line = <$from>;
	die "agent: $line" unless $line =~ /^archived/;
	$total += time - $start;
	rename "$marks/$f.ready", "$marks/$f.done";
}
open my $status, '<', "/proc/$pid/status" or die;
my ($peak) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$status>;
close $to;
waitpid $pid, 0;
printf "%.1f %d\n", 1000 * $total / @files, $peak;
