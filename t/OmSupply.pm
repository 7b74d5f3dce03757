# OmSupply.pm: what tests need of omSupply: a central server's database in two
# versions (a few tables, and functions that write as omSupply does), mSupply
# and remote sites as objects, and their sync as they see it.
package OmSupply;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use JSON::PP;
use Test::More;

our @EXPORT = qw(install_omsupply central_edit central_sync new_msupply msupply_edit copy_of new_remote measure await_quarantine);

my $json = JSON::PP->new->canonical;

# Tables that all remote sites get, and those that sites push.
my @central = qw(asset_class asset_category);
my @remote = qw(asset);
my $msupply_site = 1;
my $own_site = 2;

my $keys = q{'CENTRAL_SYNC_PULL_CURSOR', 'REMOTE_SYNC_PUSH_CURSOR', 'SHIPMENT_TRANSFER_PROCESSOR_CURSOR', 'DYNAMIC_CURSOR',
	'SETTINGS_SYNC_IS_DISABLED', 'SETTINGS_SYNC_SITE_ID', 'SETTINGS_SYNC_CENTRAL_SERVER_SITE_ID', 'SETTINGS_TOKEN_SECRET', 'DATABASE_VERSION'};

my $common = qq{
CREATE TYPE key_type AS ENUM ($keys);
CREATE TABLE key_value_store (id key_type PRIMARY KEY, value_string text, value_int integer, value_bigint bigint, value_float double precision, value_bool boolean);
INSERT INTO key_value_store (id, value_int) VALUES ('CENTRAL_SYNC_PULL_CURSOR', 0), ('REMOTE_SYNC_PUSH_CURSOR', 0), ('SETTINGS_SYNC_SITE_ID', $own_site), ('SETTINGS_SYNC_CENTRAL_SERVER_SITE_ID', $msupply_site);
INSERT INTO key_value_store (id, value_string) VALUES ('SETTINGS_TOKEN_SECRET', 'do not tell');
CREATE TABLE store (id text PRIMARY KEY, code text, site_id integer NOT NULL);
INSERT INTO store VALUES ('s2', 'central', 2), ('s11', 'one', 11), ('s12', 'two', 12), ('s13', 'three', 13);
CREATE TABLE item (id text PRIMARY KEY, name text);
CREATE TABLE asset_class (id text PRIMARY KEY, name text);
CREATE TABLE asset_category (id text PRIMARY KEY, name text, asset_class_id text REFERENCES asset_class);
CREATE TABLE asset (id text PRIMARY KEY, store_id text, notes text, asset_class_id text REFERENCES asset_class);
CREATE TABLE stocktake (id text PRIMARY KEY, name text);
CREATE TABLE sync_log (id text PRIMARY KEY, started_datetime timestamp NOT NULL, finished_datetime timestamp, prepare_initial_finished_datetime timestamp);
INSERT INTO sync_log VALUES ('l1', now(), now(), now());
CREATE TABLE sync_file_reference (id text PRIMARY KEY, table_name text, record_id text, file_name text NOT NULL, uploaded_bytes integer NOT NULL DEFAULT 0,
	total_bytes integer NOT NULL DEFAULT 0, direction text NOT NULL, deleted_datetime timestamp);
};

my $version2 = q{
CREATE TYPE changelog_table_name AS ENUM ('item', 'asset_class', 'asset_category', 'asset', 'stocktake', 'preference', 'sync_message');
CREATE TYPE row_action_type AS ENUM ('UPSERT', 'DELETE');
CREATE TYPE sync_action AS ENUM ('UPSERT', 'DELETE', 'MERGE');
CREATE SEQUENCE changelog_cursor_seq;
CREATE TABLE changelog (cursor bigint NOT NULL DEFAULT nextval('changelog_cursor_seq') PRIMARY KEY, table_name changelog_table_name NOT NULL,
	record_id text NOT NULL, row_action row_action_type NOT NULL, name_link_id text, store_id text, is_sync_update boolean NOT NULL DEFAULT false, source_site_id integer);
ALTER SEQUENCE changelog_cursor_seq OWNED BY changelog.cursor;
CREATE INDEX ON changelog (record_id);
CREATE VIEW changelog_deduped AS SELECT c.* FROM (SELECT record_id, store_id, max(cursor) AS cursor FROM changelog GROUP BY 1, 2) g JOIN changelog c USING (cursor);
CREATE TABLE sync_buffer (record_id text PRIMARY KEY, received_datetime timestamp NOT NULL, integration_datetime timestamp, integration_error text,
	table_name text NOT NULL, action sync_action NOT NULL, data text NOT NULL, source_site_id integer);
INSERT INTO key_value_store (id, value_string) VALUES ('DATABASE_VERSION', '2.19.0');
CREATE FUNCTION app_receive(site int, tab text, rec jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO sync_buffer VALUES (rec->>'id', now() AT TIME ZONE 'UTC', NULL, NULL, tab, 'UPSERT', rec::text, site)
	ON CONFLICT (record_id) DO UPDATE SET received_datetime = EXCLUDED.received_datetime, integration_datetime = NULL, integration_error = NULL, data = EXCLUDED.data, source_site_id = EXCLUDED.source_site_id $$;
CREATE FUNCTION app_integrate(site int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE b sync_buffer;
BEGIN
	FOR b IN SELECT * FROM sync_buffer WHERE integration_datetime IS NULL AND source_site_id = site ORDER BY received_datetime, record_id LOOP
		BEGIN
			PERFORM app_upsert(b.table_name, b.data::jsonb, site);
			UPDATE sync_buffer SET integration_datetime = now() WHERE record_id = b.record_id;
		EXCEPTION WHEN foreign_key_violation THEN
			UPDATE sync_buffer SET integration_datetime = now(), integration_error = SQLERRM WHERE record_id = b.record_id;
		END;
	END LOOP;
END $$;
};

my $version3 = q{
CREATE SEQUENCE changelog_cursor_seq;
CREATE TABLE changelog (cursor bigint NOT NULL DEFAULT nextval('changelog_cursor_seq') PRIMARY KEY, table_name text NOT NULL,
	record_id text NOT NULL, row_action text NOT NULL, store_id text, is_sync_update boolean NOT NULL DEFAULT false, source_site_id integer,
	transfer_store_id text, patient_link_id text) PARTITION BY RANGE (cursor);
ALTER SEQUENCE changelog_cursor_seq OWNED BY changelog.cursor;
CREATE INDEX ON changelog (source_site_id);
CREATE INDEX ON changelog (transfer_store_id) WHERE transfer_store_id IS NOT NULL;
CREATE TABLE changelog_p_0 PARTITION OF changelog FOR VALUES FROM (0) TO (500);
CREATE TABLE changelog_p_500 PARTITION OF changelog FOR VALUES FROM (500) TO (1000);
CREATE TABLE changelog_p_1000 PARTITION OF changelog FOR VALUES FROM (1000) TO (1500);
CREATE TABLE sync_buffer (cursor serial, record_id text, received_datetime timestamp NOT NULL, integration_started_datetime timestamp, integration_datetime timestamp,
	integration_error text, integration_result text, table_name text, action text, data text, source_site_id integer NOT NULL,
	is_integrated boolean NOT NULL DEFAULT false, PRIMARY KEY (cursor, is_integrated)) PARTITION BY LIST (is_integrated);
CREATE TABLE sync_buffer_pending PARTITION OF sync_buffer FOR VALUES IN (false);
CREATE TABLE sync_buffer_archive PARTITION OF sync_buffer FOR VALUES IN (true);
CREATE TABLE site (id integer PRIMARY KEY, name text NOT NULL, hashed_password text NOT NULL DEFAULT 'hash', token text, hardware_id text);
INSERT INTO site (id, name, token, hardware_id) VALUES (11, 'one', 'token-11', 'h11'), (12, 'two', 'token-12', 'h12'), (13, 'three', 'token-13', 'h13');
CREATE TABLE sync_request (id text PRIMARY KEY, reference_id text, description text, store_id text, pull_filter json, push_filter json, created_datetime timestamp, finished_datetime timestamp);
INSERT INTO key_value_store (id, value_string) VALUES ('DATABASE_VERSION', '3.0.0');
CREATE FUNCTION app_receive(site int, tab text, rec jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO sync_buffer (record_id, received_datetime, table_name, action, data, source_site_id) VALUES (rec->>'id', now() AT TIME ZONE 'UTC', tab, 'UPSERT', rec::text, site) $$;
CREATE FUNCTION app_integrate(site int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE b sync_buffer;
BEGIN
	FOR b IN SELECT * FROM sync_buffer WHERE NOT is_integrated AND source_site_id = site ORDER BY cursor LOOP
		-- from a site that the store does not belong to
		IF (SELECT s.site_id FROM store s WHERE s.id = b.data::jsonb->>'store_id') IS DISTINCT FROM site THEN
			UPDATE sync_buffer SET is_integrated = true, integration_datetime = now(), integration_result = 'IGNORED' WHERE cursor = b.cursor;
			CONTINUE;
		END IF;
		BEGIN
			PERFORM app_upsert(b.table_name, b.data::jsonb, site);
			UPDATE sync_buffer SET is_integrated = true, integration_datetime = now(), integration_result = 'SUCCESS' WHERE cursor = b.cursor;
		EXCEPTION WHEN foreign_key_violation THEN
			UPDATE sync_buffer SET is_integrated = true, integration_datetime = now(), integration_result = 'ERROR', integration_error = SQLERRM WHERE cursor = b.cursor;
		END;
	END LOOP;
END $$;
};

# A record and its changelog row in one transaction, as omSupply writes them.
my $functions = q{
CREATE FUNCTION app_upsert(tab text, rec jsonb, site int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %1$I SELECT * FROM jsonb_populate_record(NULL::%1$I, $1) ON CONFLICT (id) DO UPDATE SET %2$s', tab,
		(SELECT string_agg(format('%1$I = EXCLUDED.%1$I', attname), ', ') FROM pg_attribute WHERE attrelid = tab::regclass AND attnum > 0)) USING rec;
	EXECUTE format('INSERT INTO changelog (table_name, record_id, row_action, store_id, source_site_id) VALUES (%L, $1, ''UPSERT'', $2, $3)', tab) USING rec->>'id', rec->>'store_id', site;
END $$;
CREATE FUNCTION app_set_key(key text, n int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO key_value_store (id, value_int) VALUES (key::key_type, n) ON CONFLICT (id) DO UPDATE SET value_int = n $$;
};

# Make the tables of line 2 or 3 in a database of a node.
sub install_omsupply
{
	my ($node, $database, $line) = @_;
	$node->safe_psql($database, $common . ($line == 2 ? $version2 : $version3) . $functions);
	return { node => $node, database => $database, line => $line };
}

sub sql
{
	my ($central, $query) = @_;
	return $central->{node}->safe_psql($central->{database}, $query);
}

sub quoted
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Somebody changes records at the central server: table, id => text ...
sub central_edit
{
	my ($central, $table, %records) = @_;
	my $statements = '';
	for my $id (sort keys %records)
	{
		my $record = ref $records{$id} ? $records{$id} : { name => $records{$id} };
		$statements .= "SELECT app_upsert('$table', " . quoted($json->encode({ %$record, id => $id })) . ', ' . ($central->{line} == 3 ? $own_site : 'NULL') . ");\n";
	}
	sql($central, $statements);
	return;
}

sub key_value { my ($central, $key) = @_; return sql($central, "SELECT value_int FROM key_value_store WHERE id = '$key'"); }

# Measure all watermarks now, and wait until the repository has them.
sub measure
{
	my ($node, $database) = @_;
	my $at = $node->safe_psql($database, 'SELECT clock_timestamp()');
	$node->safe_psql($database, q{UPDATE backup_watermark_state SET measured_at = '2000-01-01', failed_at = NULL; UPDATE backup_watermark SET query = query});
	$node->poll_query_until($database, "SELECT bool_and(greatest(s.measured_at, s.failed_at) >= '$at') FROM backup_watermark w JOIN backup_watermark_state s USING (name) WHERE is_enabled HAVING count(*) = (SELECT count(*) FROM backup_watermark WHERE is_enabled)")
	  or die 'watermarks were not measured';
	$node->poll_query_until($database, q{SELECT count(*) = 0 FROM pg_ls_dir('omsupply_backup.notes')})
	  or die 'watermarks were not noted';
	return;
}

# Wait until a restored server is in quarantine, with a client that is let in.
sub await_quarantine
{
	my ($node, $database) = @_;
	for (1 .. 600)
	{
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'psql', '-XAtq', '-d', 'host=' . $node->host . ' port=' . $node->port . " dbname=$database application_name=psql", '-c', 'SELECT backup_quarantine_state()' ],
			'<', \undef, '>', \$out, '2>', \$err);
		return 1 if $out eq "on\n";
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# ---- mSupply: a log of central records, and what it was sent ----

sub new_msupply { return { log => [], records => {} }; }

sub msupply_edit
{
	my ($msupply, %items) = @_;
	for my $id (sort keys %items)
	{
		my $last = @{ $msupply->{log} } ? $msupply->{log}[-1]{id} : 0;
		push @{ $msupply->{log} }, { id => $last + 1, record => { id => $id, name => $items{$id} } };
	}
	return;
}

# A deep copy, of mSupply or of a remote site.
sub copy_of
{
	my ($it) = @_;
	my $copy = $json->decode($json->encode({%$it}));
	return ref $it eq 'HASH' ? $copy : bless $copy, ref $it;
}

# The central server syncs with mSupply (v5): push, then pull.
sub central_sync
{
	my ($central, $msupply) = @_;
	my $cursor = key_value($central, 'REMOTE_SYNC_PUSH_CURSOR');
	my $rows = sql($central, "SELECT c.cursor, to_jsonb(s) FROM changelog c JOIN stocktake s ON s.id = c.record_id WHERE c.table_name::text = 'stocktake' AND c.cursor >= $cursor AND c.source_site_id IS DISTINCT FROM $msupply_site ORDER BY 1");
	for my $row (split /\n/, $rows)
	{
		my ($at, $record) = split /\|/, $row, 2;
		$record = $json->decode($record);
		$msupply->{records}{stocktake}{ $record->{id} } = $record;
		$cursor = $at + 1;
	}
	my $max = sql($central, 'SELECT coalesce(max(cursor), 0) FROM changelog');
	$cursor = $max + 1 if $max >= $cursor;
	my $statements = "SELECT app_set_key('REMOTE_SYNC_PUSH_CURSOR', $cursor);\n";
	my $pull = key_value($central, 'CENTRAL_SYNC_PULL_CURSOR');
	for my $entry (grep { $_->{id} > $pull } @{ $msupply->{log} })
	{
		$statements .= "SELECT app_upsert('item', " . quoted($json->encode($entry->{record})) . ", $msupply_site);\n";
		$pull = $entry->{id};
	}
	$statements .= "SELECT app_set_key('CENTRAL_SYNC_PULL_CURSOR', $pull);\n";
	# asked to initialise, it sends all that it has of this site
	if (sql($central, 'SELECT count(*) FROM sync_log WHERE prepare_initial_finished_datetime IS NOT NULL') == 0)
	{
		$statements .= "SELECT app_upsert('stocktake', " . quoted($json->encode($_)) . ", $msupply_site);\n" for map { $msupply->{records}{stocktake}{$_} } sort keys %{ $msupply->{records}{stocktake} };
		$statements .= 'UPDATE sync_log SET prepare_initial_finished_datetime = now();';
	}
	sql($central, $statements);
	return;
}

# ---- remote sites ----

# protocol 6 or 7
sub new_remote
{
	my ($site, $protocol) = @_;
	return bless { token => "token-$site", hardware => "h$site", site => $site, store => "s$site", protocol => $protocol, pull => 0, push => 1, changelog => [], records => {} }, 'OmSupply::Remote';
}

package OmSupply::Remote;

use strict;
use warnings;

# Somebody changes an asset at the site.
sub edit
{
	my ($self, $id, %record) = @_;
	$self->{records}{asset}{$id} = { %record, id => $id, store_id => $self->{store} };
	push @{ $self->{changelog} }, $id;
	return;
}

# May the site log in? 3.0 knows it by token and machine.
sub logs_in
{
	my ($self, $central) = @_;
	return 1 if $self->{protocol} == 6 || $central->{line} == 2;
	return OmSupply::sql($central, "SELECT count(*) FROM site WHERE id = $self->{site} AND token = '$self->{token}' AND hardware_id = '$self->{hardware}'");
}

# It is installed on another machine, and its password entered: it gets a token
# if the central server has none for it.
sub get_token
{
	my ($self, $central) = @_;
	my ($token, $hardware) = ("token-$self->{site}-" . int(rand 1e9), "h$self->{site}-" . int(rand 1e9));
	my $done = OmSupply::sql($central, "WITH new AS (UPDATE site SET token = '$token', hardware_id = '$hardware' WHERE id = $self->{site} AND token IS NULL RETURNING 1) SELECT count(*) FROM new");
	@$self{qw(token hardware)} = ($token, $hardware) if $done;
	return $done;
}

sub push_all
{
	my ($self, $central) = @_;
	return if !$self->logs_in($central);
	my $statements = '';
	while ($self->{push} <= @{ $self->{changelog} })
	{
		my $id = $self->{changelog}[ $self->{push}++ - 1 ];
		$statements .= "SELECT app_receive($self->{site}, 'asset', " . OmSupply::quoted($json->encode($self->{records}{asset}{$id})) . ");\n";
	}
	OmSupply::sql($central, $statements . "SELECT app_integrate($self->{site})") if $statements ne '';
	return;
}

sub pull_all
{
	my ($self, $central) = @_;
	return if !$self->logs_in($central);
	my $tables = join ', ', map { "'$_'" } @central;
	my ($from, $operator) = $self->{protocol} == 6 ? ('changelog_deduped', '>=') : ('changelog', '>');
	$from = 'changelog' if $central->{line} == 3;
	my $requests = $central->{line} == 3 ? q{ UNION ALL SELECT c.cursor, 'sync_request', to_jsonb(r) FROM changelog c JOIN sync_request r ON r.id = c.record_id JOIN store s ON s.id = c.store_id AND s.site_id = } . $self->{site} . " WHERE c.table_name = 'sync_request' AND c.cursor $operator $self->{pull}" : '';
	my $parts = join ' UNION ALL ', map { "SELECT c.cursor, '$_', to_jsonb(r) FROM $from c JOIN $_ r ON r.id = c.record_id WHERE c.table_name::text = '$_' AND c.cursor $operator $self->{pull} AND c.source_site_id IS DISTINCT FROM $self->{site}" } @central;
	my $last;
	for my $row (split /\n/, OmSupply::sql($central, "$parts$requests ORDER BY 1"))
	{
		my ($cursor, $table, $record) = split /\|/, $row, 3;
		$record = $json->decode($record);
		$last = $cursor;
		if ($table eq 'sync_request')
		{
			# all that the filter finds goes to the end of its own changelog
			my ($of) = map { $_->{source_site_id} ? $_->{source_site_id}{Equal} : () } @{ $record->{push_filter}{And} };
			push @{ $self->{changelog} }, sort keys %{ $self->{records}{asset} } if $of == $self->{site};
			next;
		}
		$self->{records}{$table}{ $record->{id} } = $record;
	}
	if ($self->{protocol} == 6)
	{
		# without rows the answer is the end of the changelog; the site believes it
		$last = OmSupply::sql($central, 'SELECT coalesce(max(cursor), 0) FROM changelog') if !defined $last;
		$self->{pull} = $last + 1;
	}
	elsif (defined $last)
	{
		$self->{pull} = $last;
	}
	return;
}

sub sync
{
	my ($self, $central) = @_;
	$self->push_all($central);
	$self->pull_all($central);
	return;
}

# How many central records it lacks.
sub lacks
{
	my ($self, $central, $table) = @_;
	return scalar grep { !$self->{records}{$table}{$_} } split /\n/, OmSupply::sql($central, "SELECT id FROM $table ORDER BY 1");
}

1;
