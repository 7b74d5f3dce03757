/* omsupply_backup--1.1--1.2.sql: what version 1.2 adds to version 1.1 */

\echo Use "ALTER EXTENSION omsupply_backup UPDATE" to load this file. \quit

INSERT INTO backup_extension_version (version, result) VALUES ('1.2', 'done');

-- schedules

-- A new extension beside a repository that is set: the default schedules run.
-- After an update those that nobody enabled stay as they are.
UPDATE backup_schedule SET is_enabled = true
 WHERE pg_catalog.length(pg_catalog.current_setting('omsupply_backup.repository', true)) OPERATOR(pg_catalog.>) 0
   AND EXISTS (SELECT FROM pg_catalog.pg_extension AS e
				 JOIN pg_catalog.pg_depend AS d
				   ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
				  AND d.refobjid OPERATOR(pg_catalog.=) e.oid
				 JOIN pg_catalog.pg_proc AS p
				   ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
				  AND d.objid OPERATOR(pg_catalog.=) p.oid
				WHERE e.extname OPERATOR(pg_catalog.=) 'omsupply_backup'
				  AND p.proname OPERATOR(pg_catalog.=) 'backup_cancel'
				  AND p.xmin OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid);

-- targets

CREATE TABLE backup_target (
	name pg_catalog.text PRIMARY KEY
		CHECK (pg_catalog.length(name) OPERATOR(pg_catalog.>) 0
			   AND pg_catalog.octet_length(name) OPERATOR(pg_catalog.<=) 60
			   AND name OPERATOR(pg_catalog.<>) 'local'),
	url pg_catalog.text NOT NULL UNIQUE,
	credentials pg_catalog.text,
	is_enabled pg_catalog.bool NOT NULL DEFAULT true,
	upload_limit pg_catalog.int8 CHECK (upload_limit OPERATOR(pg_catalog.>) 0),
	"window" pg_catalog.text,
	options pg_catalog.jsonb NOT NULL DEFAULT '{}'
		CHECK (pg_catalog.jsonb_typeof(options) OPERATOR(pg_catalog.=) 'object')
);
COMMENT ON TABLE backup_target
IS 'where the repository is copied to all the time; a change takes effect when it is committed';
SELECT pg_catalog.pg_extension_config_dump('backup_target', '');

CREATE FUNCTION backup_target_row_check()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_target_row_check'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_target_row_check()
IS 'trigger: refuses mistakes in backup_target';
CREATE TRIGGER backup_target_row_check
BEFORE INSERT OR UPDATE ON backup_target
FOR EACH ROW EXECUTE FUNCTION backup_target_row_check();

CREATE FUNCTION backup_target_changed()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_target_changed'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_target_changed()
IS 'trigger: makes a change of backup_target take effect';
CREATE TRIGGER backup_target_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backup_target
FOR EACH STATEMENT EXECUTE FUNCTION backup_target_changed();

-- targets go by these rules, too
CREATE TRIGGER backup_retention_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backup_retention
FOR EACH STATEMENT EXECUTE FUNCTION backup_schedule_changed();

CREATE FUNCTION backup_target_status_row(name pg_catalog.text,
										 OUT state pg_catalog.text,
										 OUT last_success_at pg_catalog.timestamptz,
										 OUT last_error pg_catalog.text,
										 OUT hint pg_catalog.text,
										 OUT last_error_at pg_catalog.timestamptz,
										 OUT objects_waiting pg_catalog.int8,
										 OUT bytes_waiting pg_catalog.int8,
										 OUT oldest_waiting_wal pg_catalog.text,
										 OUT data_at_risk pg_catalog.interval,
										 OUT rate pg_catalog.int8,
										 OUT catch_up_seconds pg_catalog.float8)
RETURNS pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_target_status'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION backup_target_status_row(pg_catalog.text)
IS 'what the view backup_target_status shows of an enabled target';

CREATE VIEW backup_target_status AS
SELECT t.name,
	   CASE WHEN t.is_enabled THEN s.state ELSE 'disabled'::pg_catalog.text END AS state,
	   s.last_success_at, s.last_error, s.hint, s.last_error_at, s.objects_waiting,
	   s.bytes_waiting, s.oldest_waiting_wal, s.data_at_risk, s.rate, s.catch_up_seconds
  FROM backup_target AS t
  LEFT JOIN LATERAL backup_target_status_row(t.name) AS s ON t.is_enabled;
COMMENT ON VIEW backup_target_status
IS 'each target: state ok, copying, waiting, failing, blocked or disabled, and how far it is behind';

CREATE FUNCTION backup_target_check(name pg_catalog.text,
									OUT operation pg_catalog.text,
									OUT result pg_catalog.text,
									OUT found pg_catalog.text,
									OUT hint pg_catalog.text)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_target_check'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_target_check(pg_catalog.text)
IS 'try each operation on a target: a row each with ok, warning, error or skipped, what was found and what to do';

REVOKE ALL ON backup_target FROM PUBLIC;
REVOKE ALL ON backup_target_status FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_target_row_check() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_target_changed() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_target_status_row(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_target_check(pg_catalog.text) FROM PUBLIC;
GRANT SELECT ON backup_target TO pg_monitor;
GRANT SELECT ON backup_target_status TO pg_monitor;
GRANT EXECUTE ON FUNCTION backup_target_status_row(pg_catalog.text) TO pg_monitor;

-- retention

-- files

CREATE TABLE backup_file_set (
	name pg_catalog.text PRIMARY KEY,
	path pg_catalog.text NOT NULL,
	exclude pg_catalog.text[] NOT NULL DEFAULT '{}',
	is_enabled pg_catalog.bool NOT NULL DEFAULT true
);
COMMENT ON TABLE backup_file_set
IS 'directories of the application that are backed up with the database; a change takes effect when it is committed';

CREATE FUNCTION backup_file_set_check()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_file_set_check'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_file_set_check()
IS 'trigger: refuses mistakes in backup_file_set';
CREATE TRIGGER backup_file_set_check
BEFORE INSERT OR UPDATE ON backup_file_set
FOR EACH ROW EXECUTE FUNCTION backup_file_set_check();
CREATE TRIGGER backup_file_set_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backup_file_set
FOR EACH STATEMENT EXECUTE FUNCTION backup_schedule_changed();
SELECT pg_catalog.pg_extension_config_dump('backup_file_set', '');

CREATE FUNCTION backup_files(wait pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'omb_backup_files'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_files(pg_catalog.bool)
IS 'back up the application''s files now, without the database; returns the id';

REVOKE ALL ON backup_file_set FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_file_set_check() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_files(pg_catalog.bool) FROM PUBLIC;
GRANT SELECT ON backup_file_set TO pg_monitor;

-- marks, watermarks

CREATE FUNCTION backup_mark(name pg_catalog.text,
							detail pg_catalog.jsonb DEFAULT NULL,
							switch_wal pg_catalog.bool DEFAULT true,
							OUT lsn pg_catalog.pg_lsn,
							OUT id pg_catalog.text)
RETURNS pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_mark'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_mark(pg_catalog.text, pg_catalog.jsonb, pg_catalog.bool)
IS 'name this instant, so that "restore --target-mark" can go back to it';
REVOKE ALL ON FUNCTION backup_mark(pg_catalog.text, pg_catalog.jsonb, pg_catalog.bool) FROM PUBLIC;

CREATE TABLE backup_watermark (
	name pg_catalog.text PRIMARY KEY
		CHECK (name OPERATOR(pg_catalog.~) '^[a-z0-9_-]{1,60}$'),
	query pg_catalog.text NOT NULL,
	"interval" pg_catalog.interval NOT NULL DEFAULT '1 minute'
		CHECK ("interval" OPERATOR(pg_catalog.>=) '1 second'),
	is_enabled pg_catalog.bool NOT NULL DEFAULT true,
	run_as pg_catalog.text NOT NULL DEFAULT CURRENT_USER
);
COMMENT ON TABLE backup_watermark
IS 'values of this database that are measured regularly and kept in the repository; $1 in a query is its last value';
CREATE TRIGGER backup_watermark_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backup_watermark
FOR EACH STATEMENT EXECUTE FUNCTION backup_schedule_changed();
SELECT pg_catalog.pg_extension_config_dump('backup_watermark', '');

-- not for a dump: where measuring stands
CREATE TABLE backup_watermark_state (
	name pg_catalog.text PRIMARY KEY,
	measured_at pg_catalog.timestamptz,
	value pg_catalog.jsonb,
	failed_at pg_catalog.timestamptz,
	error pg_catalog.text
);
COMMENT ON TABLE backup_watermark_state
IS 'the last value of each watermark, and why it could not be measured since';

CREATE FUNCTION backup_watermark_values(name pg_catalog.text DEFAULT NULL,
										since pg_catalog.timestamptz DEFAULT NULL,
										until pg_catalog.timestamptz DEFAULT NULL,
										OUT watermark pg_catalog.text,
										OUT measured_at pg_catalog.timestamptz,
										OUT lsn pg_catalog.pg_lsn,
										OUT timeline pg_catalog.int8,
										OUT value pg_catalog.jsonb)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_watermark_rows'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_watermark_values(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz)
IS 'watermarks that the repository has, since <= measured_at < until';

REVOKE ALL ON backup_watermark, backup_watermark_state FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_watermark_values(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz) FROM PUBLIC;
GRANT SELECT ON backup_watermark, backup_watermark_state TO pg_monitor;

-- realignment

-- Which incarnation of the cluster this database was last accepted in. A
-- restore makes a new timeline, a dump that is loaded elsewhere comes under
-- another system identifier.
CREATE TABLE backup_incarnation (
	is_only pg_catalog.bool PRIMARY KEY DEFAULT true CHECK (is_only),
	system_identifier pg_catalog.int8 NOT NULL,
	timeline pg_catalog.int8 NOT NULL,
	accepted_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	base_dir pg_catalog.text
);
COMMENT ON TABLE backup_incarnation
IS 'the cluster and timeline in which the application may work; a restore makes others';
SELECT pg_catalog.pg_extension_config_dump('backup_incarnation', '');

CREATE TABLE backup_realign_log (
	log_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
	by_role pg_catalog.text NOT NULL DEFAULT SESSION_USER,
	scenario pg_catalog.text NOT NULL,
	object pg_catalog.text NOT NULL,
	old_value pg_catalog.text,
	new_value pg_catalog.text,
	why pg_catalog.text NOT NULL
);
COMMENT ON TABLE backup_realign_log
IS 'every change that backup_realign() has made';

-- the checkpoint in pg_control may still be one of before a promotion
CREATE FUNCTION backup_current_incarnation(OUT system_identifier pg_catalog.int8,
										   OUT timeline pg_catalog.int8)
RETURNS pg_catalog.record
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT c.system_identifier,
		   ('x' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::pg_catalog.bit(32)::pg_catalog.int8
	  FROM pg_catalog.pg_control_system() AS c;
END;
COMMENT ON FUNCTION backup_current_incarnation()
IS 'the cluster and timeline that the server writes now';

CREATE FUNCTION backup_realign_pending()
RETURNS pg_catalog.bool
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM backup_incarnation AS i, backup_current_incarnation() AS c
					WHERE (i.system_identifier OPERATOR(pg_catalog.<>) c.system_identifier)
					   OR (i.timeline OPERATOR(pg_catalog.<>) c.timeline));
END;
COMMENT ON FUNCTION backup_realign_pending()
IS 'was this database restored, and not realigned since?';

-- 2, 3, or null where there is no omSupply
CREATE FUNCTION backup_omsupply_line()
RETURNS pg_catalog.int4
LANGUAGE sql VOLATILE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE c.relkind WHEN 'p' THEN 3 WHEN 'r' THEN 2 END
	  FROM pg_catalog.pg_class AS c
	 WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('public.changelog')
	   AND pg_catalog.to_regclass('public.key_value_store') IS NOT NULL
	   AND pg_catalog.to_regclass('public.changelog_cursor_seq') IS NOT NULL;
END;
COMMENT ON FUNCTION backup_omsupply_line()
IS 'which line of omSupply works in this database: 2, 3, or null';

CREATE FUNCTION backup_preset_omsupply(base_dir pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $preset$
DECLARE
	line int;
	home text := current_setting('omsupply_backup.database', true);
	app_role text;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	line := backup_omsupply_line();
	IF line IS NULL THEN
		RAISE EXCEPTION 'database "%" has no tables of omSupply', current_database()
			USING HINT = 'Connect to the database of omSupply, start omSupply once before, and try again.';
	END IF;
	IF home IS DISTINCT FROM current_database() THEN
		RAISE EXCEPTION 'watermarks are measured in database "%", not in "%"', home, current_database()
			USING HINT = format('Set "omsupply_backup.database" to ''%s'' and reload the server.', current_database());
	END IF;
	SELECT pg_get_userbyid(c.relowner) INTO app_role
	  FROM pg_class AS c WHERE c.oid = 'public.changelog'::regclass;
	INSERT INTO backup_watermark (name, query, "interval", run_as) VALUES
	('omsupply', $query$SELECT current_database() AS database,
	(SELECT k.value_string FROM public.key_value_store AS k WHERE k.id::text = 'DATABASE_VERSION') AS version,
	(SELECT max(c.cursor) FROM public.changelog AS c) AS max_cursor,
	(SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END FROM public.changelog_cursor_seq AS s) AS sequence$query$, '1 minute', app_role),
	('omsupply-keys', $query$SELECT current_database() AS database, jsonb_object_agg(k.id::text, coalesce(to_jsonb(k.value_int), to_jsonb(k.value_string))) AS keys
  FROM public.key_value_store AS k WHERE k.id::text LIKE '%CURSOR%'$query$, '5 minutes', app_role),
	('omsupply-journal', $query$WITH last AS (
	SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END AS sequence,
		   -- after millions of rows at once it begins anew, and says so
		   CASE WHEN s.last_value - ($1->>'floor')::bigint <= 2000000 THEN $1 END AS state
	  FROM public.changelog_cursor_seq AS s),
now AS MATERIALIZED (
	-- a transaction below the horizon has ended; what it wrote is seen
	SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
		   pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
		   l.sequence, (l.state->>'horizon')::bigint AS from_xid, coalesce(l.state->'points', '[]') AS points,
		   l.state IS NULL AND $1 IS NOT NULL AS is_skipped
	  FROM last AS l),
points AS (
	-- cursors up to v were taken by transactions below x, or very soon after
	SELECT (p.value->>'x')::bigint AS x, (p.value->>'v')::bigint AS v
	  FROM now, jsonb_array_elements(now.points) AS p),
floor AS MATERIALIZED (
	SELECT CASE WHEN now.from_xid IS NULL THEN greatest(now.sequence - 100000, 0)
		   ELSE coalesce((SELECT p.v FROM points AS p WHERE p.x <= now.from_xid ORDER BY p.v DESC OFFSET 1 LIMIT 1),
						 ($1->>'floor')::bigint) END AS cursor
	  FROM now),
found AS MATERIALIZED (
	SELECT c.cursor, c.table_name::text, c.record_id, c.row_action::text, c.store_id, c.source_site_id
	  FROM public.changelog AS c, now, floor
	 WHERE c.cursor > floor.cursor
	   AND (c.xmin::text::bigint - now.from_xid % 4294967296 + 6442450944) % 4294967296 - 2147483648 >= 0
	   AND (c.xmin::text::bigint - now.horizon % 4294967296 + 6442450944) % 4294967296 - 2147483648 < 0),
sites AS (
	SELECT f.source_site_id, count(*), min(f.cursor), max(f.cursor), array_agg(DISTINCT f.table_name) AS tables
	  FROM found AS f GROUP BY f.source_site_id)
SELECT current_database() AS database, now.horizon, floor.cursor AS floor, now.from_xid,
	(SELECT count(*) = 0 FROM found) AND NOT now.is_skipped AS is_empty, now.is_skipped,
	(SELECT count(*) FROM found) AS count,
	(SELECT min(f.cursor) FROM found AS f) AS min_cursor,
	CASE WHEN now.is_skipped THEN now.sequence ELSE (SELECT max(f.cursor) FROM found AS f) END AS max_cursor,
	(SELECT jsonb_agg(to_jsonb(s)) FROM sites AS s) AS sites,
	(SELECT jsonb_agg(to_jsonb(q)) FROM (
		SELECT * FROM (SELECT p.x, p.v FROM points AS p, floor WHERE p.v >= floor.cursor UNION SELECT now.next_xid, now.sequence FROM now) AS u
		 ORDER BY u.v LIMIT 30) AS q) AS points,
	CASE WHEN (SELECT count(*) FROM found) <= 1000 THEN
		(SELECT jsonb_agg(jsonb_build_array(f.cursor, f.table_name, f.record_id, f.row_action, f.store_id, f.source_site_id) ORDER BY f.cursor) FROM found AS f) END AS rows
  FROM now, floor$query$, '1 minute', app_role)
	ON CONFLICT (name) DO UPDATE
	   SET query = EXCLUDED.query, "interval" = EXCLUDED."interval", run_as = EXCLUDED.run_as, is_enabled = true;
	INSERT INTO backup_incarnation (system_identifier, timeline, base_dir)
	SELECT c.system_identifier, c.timeline, backup_preset_omsupply.base_dir
	  FROM backup_current_incarnation() AS c
	ON CONFLICT (is_only) DO UPDATE
	   SET base_dir = coalesce(EXCLUDED.base_dir, backup_incarnation.base_dir);
	IF backup_preset_omsupply.base_dir IS NOT NULL THEN
		INSERT INTO backup_file_set (name, path, exclude)
		VALUES ('omsupply', backup_preset_omsupply.base_dir, '{static_files/tmp,.tmp*,db_export.dump,log}')
		ON CONFLICT (name) DO UPDATE
		   SET path = EXCLUDED.path, exclude = EXCLUDED.exclude, is_enabled = true;
		IF NOT EXISTS (SELECT FROM backup_schedule AS s WHERE s.job = 'files') THEN
			INSERT INTO backup_schedule (name, job, cron, is_enabled)
			VALUES ('files', 'files', '*/15 * * * *', true);
		END IF;
	END IF;
	RETURN format('omSupply %s.x', line);
END
$preset$;
COMMENT ON FUNCTION backup_preset_omsupply(pg_catalog.text)
IS 'set everything up for omSupply: watermarks, the protection after a restore, and with base_dir its files';

-- What is known of the changelog: what was restored, what there was before.
CREATE FUNCTION backup_realign_facts(highest pg_catalog.int8, lost_until pg_catalog.timestamptz,
									 OUT line pg_catalog.int4, OUT restored_max pg_catalog.int8,
									 OUT restored_sequence pg_catalog.int8,
									 OUT known pg_catalog.int8, OUT known_at pg_catalog.timestamptz,
									 OUT peak_rate pg_catalog.float8, OUT target pg_catalog.int8)
RETURNS pg_catalog.record
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $facts$
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	line := backup_omsupply_line();
	IF line IS NULL THEN
		RAISE EXCEPTION 'database "%" has no tables of omSupply', current_database()
			USING HINT = 'Connect to the database of omSupply.';
	END IF;
	SELECT coalesce(max(c.cursor), 0) INTO restored_max FROM public.changelog AS c;
	SELECT s.last_value INTO restored_sequence FROM public.changelog_cursor_seq AS s;
	WITH v AS (
		SELECT w.measured_at, w.timeline, (w.value->>'sequence')::bigint AS n
		  FROM backup_watermark_values('omsupply') AS w
		 WHERE w.value->>'database' = current_database()),
	steps AS (
		SELECT v.measured_at, v.n, v.n - lag(v.n) OVER (ORDER BY v.measured_at) AS rows,
			   lag(v.measured_at) OVER (ORDER BY v.measured_at) AS since,
			   lag(v.timeline) OVER (ORDER BY v.measured_at) IS DISTINCT FROM v.timeline AS is_other
		  FROM v)
	SELECT max(s.n), max(s.measured_at),
		   max(s.rows / greatest(extract(epoch FROM s.measured_at - s.since), 1))
			   FILTER (WHERE s.rows > 0 AND NOT s.is_other AND NOT EXISTS (
				   SELECT FROM backup_realign_log AS l WHERE l.at BETWEEN s.since AND s.measured_at AND l.object = 'sequence changelog_cursor_seq'))
	  INTO known, known_at, peak_rate
	  FROM steps AS s;
	known := greatest(known, (SELECT max((w.value->>'max_cursor')::bigint) FROM backup_watermark_values('omsupply-journal') AS w WHERE w.value->>'database' = current_database()), highest);
	IF highest IS NOT NULL THEN
		target := known + 1000;
	ELSE
		/* twice what the busiest time would have made, and a reserve */
		target := known + 100000 + 2 * ceil(coalesce(peak_rate, 0)
			* greatest(extract(epoch FROM coalesce(lost_until, clock_timestamp()) - known_at), 0))::bigint;
	END IF;
END
$facts$;
COMMENT ON FUNCTION backup_realign_facts(pg_catalog.int8, pg_catalog.timestamptz)
IS 'for backup_realign() and backup_realign_report(): what was restored, what is known of before';

CREATE FUNCTION backup_realign(scenario pg_catalog.text,
							   dry_run pg_catalog.bool DEFAULT true,
							   highest pg_catalog.int8 DEFAULT NULL,
							   lost_until pg_catalog.timestamptz DEFAULT NULL,
							   msupply_at pg_catalog.timestamptz DEFAULT NULL,
							   msupply_cursor pg_catalog.int8 DEFAULT NULL,
							   requeue pg_catalog.bool DEFAULT false,
							   rebroadcast pg_catalog.bool DEFAULT false,
							   ask_remotes pg_catalog.bool DEFAULT false)
RETURNS TABLE (object pg_catalog.text, old_value pg_catalog.text,
			   new_value pg_catalog.text, why pg_catalog.text)
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $realign$
#variable_conflict use_column
DECLARE
	facts record;
	kind text;
	command text;
	lower_bound bigint;
	upper_bound bigint;
	size bigint;
	cursor_now bigint;
	cursor_then bigint;
	others text;
	item record;
	n bigint;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', e_n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS e_n ON e_n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF pg_is_in_recovery() THEN
		RAISE EXCEPTION 'cannot realign during recovery'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Wait until the server has opened for work.';
	END IF;
	kind := CASE lower(backup_realign.scenario)
		WHEN 'msupply' THEN 'msupply' WHEN 'b.3.1' THEN 'msupply'
		WHEN 'omsupply' THEN 'omsupply' WHEN 'b.3.2' THEN 'omsupply'
		WHEN 'remote' THEN 'remote' WHEN 'b.3.3' THEN 'remote'
		WHEN 'both' THEN 'both' WHEN 'b.3.4' THEN 'both'
		WHEN 'retry' THEN 'retry' END;
	IF kind IS NULL THEN
		RAISE EXCEPTION 'invalid scenario "%"', backup_realign.scenario
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Use "omsupply" (omSupply was restored), "msupply" (mSupply was), "both", "remote" (a remote site was), or "retry" (integrate again what failed).';
	END IF;
	SELECT string_agg(format('process %s (%s)', a.pid, coalesce(nullif(a.application_name, ''), 'no name')), ', ') INTO others
	  FROM pg_stat_activity AS a
	 WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid();
	IF others IS NOT NULL AND NOT dry_run THEN
		RAISE EXCEPTION 'others are connected to database "%"', current_database()
			USING ERRCODE = 'object_in_use', DETAIL = format('They are %s.', others),
				  HINT = 'Stop omSupply: it keeps its sync cursors in memory, and would overwrite them.';
	END IF;
	SELECT * INTO facts FROM backup_realign_facts(backup_realign.highest, backup_realign.lost_until);
	IF NOT dry_run THEN
		/* no one may take a cursor meanwhile */
		LOCK TABLE public.changelog, public.key_value_store IN ACCESS EXCLUSIVE MODE NOWAIT;
	END IF;

	/* ---- the sequence: past what any remote site can have seen ---- */
	IF kind IN ('omsupply', 'both') THEN
		IF facts.target IS NULL THEN
			RAISE EXCEPTION 'it is not known how far the changelog had come'
				USING DETAIL = 'The repository has no watermark "omsupply" of this database.',
					  HINT = 'Give the highest cursor that any site has seen as "highest": the largest SYNC_PULL_CURSOR of the remote sites.';
		END IF;
		IF greatest(facts.target, facts.restored_sequence, facts.restored_max) > 2000000000 THEN
			RAISE EXCEPTION 'the changelog would have to go on at %, and omSupply''s cursors end at 2147483647', greatest(facts.target, facts.restored_sequence, facts.restored_max)
				USING ERRCODE = 'numeric_value_out_of_range',
					  HINT = 'Give a smaller "highest", or the time at which the old server stopped as "lost_until".';
		END IF;
		IF facts.line = 3 THEN
			SELECT max((b.bound)[2]::bigint), (array_agg((b.bound)[2]::bigint - (b.bound)[1]::bigint ORDER BY (b.bound)[2]::bigint DESC))[1]
			  INTO upper_bound, size
			  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid,
				   LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('?(\d+)'?\) TO \('?(\d+)'?\)$re$) AS b (bound)
			 WHERE i.inhparent = 'public.changelog'::regclass;
			IF upper_bound IS NULL OR size <= 0 THEN
				RAISE EXCEPTION 'the partitions of table "changelog" are not as expected';
			END IF;
			/* omSupply keeps two more than it needs */
			n := ceil((greatest(facts.target, facts.restored_sequence) + 1 + 2 * size - upper_bound)::numeric / size);
			IF n > 1000 THEN
				RAISE EXCEPTION '% more partitions of table "changelog" would be needed', n
					USING HINT = 'Give the highest cursor that any site has seen as "highest".';
			END IF;
			WHILE n > 0 LOOP
				lower_bound := upper_bound;
				upper_bound := upper_bound + size;
				n := n - 1;
				object := format('table changelog_p_%s', lower_bound);
				old_value := NULL;
				new_value := format('partition from %s to %s', lower_bound, upper_bound);
				why := 'without a partition for its cursor no row can be written';
				RETURN NEXT;
				IF NOT dry_run THEN
					EXECUTE format('CREATE TABLE public.%I (LIKE public.changelog INCLUDING ALL)', 'changelog_p_' || lower_bound);
					EXECUTE format('ALTER TABLE public.%I OWNER TO %I', 'changelog_p_' || lower_bound,
								   (SELECT pg_get_userbyid(c.relowner) FROM pg_class AS c WHERE c.oid = 'public.changelog'::regclass));
					EXECUTE format('ALTER TABLE public.changelog ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', 'changelog_p_' || lower_bound, lower_bound, upper_bound);
					INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
					VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
				END IF;
			END LOOP;
		END IF;
		IF facts.target > greatest(facts.restored_sequence, facts.restored_max) THEN
			object := 'sequence changelog_cursor_seq';
			old_value := facts.restored_sequence::text;
			new_value := facts.target::text;
			why := format('remote sites may hold cursors up to %s; what got a lower one would never reach them', facts.known);
			RETURN NEXT;
			IF NOT dry_run THEN
				PERFORM setval('public.changelog_cursor_seq', facts.target, true);
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END IF;
	END IF;

	/* ---- what omSupply pushes to mSupply ---- */
	IF kind IN ('omsupply', 'both', 'msupply') THEN
		SELECT k.value_int INTO cursor_now FROM public.key_value_store AS k WHERE k.id::text = 'REMOTE_SYNC_PUSH_CURSOR';
		SELECT (w.value->'keys'->>'REMOTE_SYNC_PUSH_CURSOR')::bigint INTO cursor_then
		  FROM backup_watermark_values('omsupply-keys', NULL, CASE WHEN kind = 'omsupply' THEN backup_realign.lost_until ELSE backup_realign.msupply_at END) AS w
		 ORDER BY w.measured_at DESC LIMIT 1;
		IF kind <> 'omsupply' AND backup_realign.msupply_at IS NULL THEN
			cursor_then := NULL;
		END IF;
		IF kind = 'omsupply' THEN
			/* never back: mSupply has newer versions of what was pushed */
			cursor_then := greatest(cursor_now, least(facts.restored_max + 1, coalesce(cursor_then, facts.restored_max + 1)));
			why := 'mSupply has what was pushed since; pushing old versions again would overwrite newer ones';
		ELSIF cursor_then IS NULL THEN
			cursor_then := 0;
			why := 'it is not known what mSupply had, so everything is pushed again';
		ELSE
			cursor_then := least(facts.restored_max + 1, cursor_then);
			why := 'what was pushed later, mSupply has lost';
		END IF;
		IF cursor_now IS NOT NULL AND cursor_then IS DISTINCT FROM cursor_now THEN
			object := 'key REMOTE_SYNC_PUSH_CURSOR';
			old_value := cursor_now::text;
			new_value := cursor_then::text;
			RETURN NEXT;
			IF NOT dry_run THEN
				UPDATE public.key_value_store SET value_int = cursor_then::int WHERE id::text = 'REMOTE_SYNC_PUSH_CURSOR';
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END IF;
	END IF;

	/* ---- what omSupply pulls from mSupply ---- */
	IF kind IN ('both', 'msupply') THEN
		SELECT k.value_int INTO cursor_now FROM public.key_value_store AS k WHERE k.id::text = 'CENTRAL_SYNC_PULL_CURSOR';
		cursor_then := coalesce(backup_realign.msupply_cursor, 0);
		IF cursor_now > cursor_then THEN
			object := 'key CENTRAL_SYNC_PULL_CURSOR';
			old_value := cursor_now::text;
			new_value := cursor_then::text;
			why := format('mSupply counts on from where it was restored to, and what it numbers up to %s would be missed', cursor_now);
			RETURN NEXT;
			IF NOT dry_run THEN
				UPDATE public.key_value_store SET value_int = cursor_then::int WHERE id::text = 'CENTRAL_SYNC_PULL_CURSOR';
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END IF;
	END IF;

	/* ---- what mSupply had queued for omSupply ---- */
	IF kind = 'omsupply' AND requeue AND to_regclass('public.sync_log') IS NOT NULL THEN
		EXECUTE 'SELECT count(*) FROM public.sync_log WHERE prepare_initial_finished_datetime IS NOT NULL' INTO n;
		IF n > 0 THEN
			object := 'column sync_log.prepare_initial_finished_datetime';
			old_value := format('%s rows', n);
			new_value := 'null';
			why := 'mSupply forgot what omSupply had acknowledged; this makes omSupply ask for all of it again';
			RETURN NEXT;
			IF NOT dry_run THEN
				EXECUTE 'UPDATE public.sync_log SET prepare_initial_finished_datetime = NULL WHERE prepare_initial_finished_datetime IS NOT NULL';
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END IF;
	END IF;

	/* ---- remote sites of 3.0 push again what they had pushed ---- */
	IF kind IN ('omsupply', 'both') AND ask_remotes THEN
		IF facts.line <> 3 OR to_regclass('public.sync_request') IS NULL THEN
			RAISE EXCEPTION 'this version of omSupply cannot ask remote sites to push again'
				USING HINT = 'backup_realign_report() tells which sites need their push cursor set back by hand.';
		END IF;
		FOR item IN
			SELECT DISTINCT ON (s.site_id) s.site_id, s.id AS store
			  FROM public.store AS s
			 WHERE s.site_id <> coalesce((SELECT k.value_int FROM public.key_value_store AS k WHERE k.id::text = 'SETTINGS_SYNC_SITE_ID'), 0)
			 ORDER BY s.site_id, s.id
		LOOP
			object := format('sync request for site %s', item.site_id);
			old_value := NULL;
			new_value := format('push again all changes of site %s', item.site_id);
			why := 'what it pushed since the restored instant is lost here, and it does not push it again by itself';
			RETURN NEXT;
			IF NOT dry_run THEN
				EXECUTE $sql$WITH request AS (
	INSERT INTO public.sync_request (id, description, store_id, push_filter, created_datetime)
	VALUES (gen_random_uuid()::text, 'after a restore', $1,
			json_build_object('And', json_build_array(
				json_build_object('source_site_id', json_build_object('Equal', $2)),
				json_build_object('cursor', json_build_object('GreaterThan', 0)))), now() AT TIME ZONE 'UTC')
	RETURNING id)
INSERT INTO public.changelog (table_name, record_id, row_action, store_id, source_site_id)
SELECT 'sync_request', r.id, 'UPSERT', $1, (SELECT k.value_int FROM public.key_value_store AS k WHERE k.id::text = 'SETTINGS_SYNC_SITE_ID')
  FROM request AS r$sql$ USING item.store, item.site_id;
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END LOOP;
	END IF;

	/* ---- central records go out once more ---- */
	IF kind IN ('omsupply', 'both') AND rebroadcast THEN
		FOR item IN
			SELECT DISTINCT c.table_name::text AS name FROM public.changelog AS c
			 WHERE c.table_name::text = ANY ('{pack_variant,asset_class,asset_category,asset_catalogue_type,asset_catalogue_item,asset_catalogue_property,asset_catalogue_item_property,asset_log_reason,property,name_property,demographic,vaccine_course,vaccine_course_dose,vaccine_course_item,item_variant,packaging_variant,bundled_item,ancillary_item,backend_plugin,frontend_plugin,report,form_schema,campaign}')
			   AND to_regclass('public.' || quote_ident(c.table_name::text)) IS NOT NULL
		LOOP
			EXECUTE format('SELECT count(*) FROM public.%I', item.name) INTO n;
			CONTINUE WHEN n = 0;
			object := format('changelog of table %s', item.name);
			old_value := NULL;
			new_value := format('%s records once more', n);
			why := 'remote sites that have a newer version get the one that was restored';
			RETURN NEXT;
			IF NOT dry_run THEN
				EXECUTE format('INSERT INTO public.changelog (table_name, record_id, row_action, source_site_id) SELECT %L, r.id, ''UPSERT'', %s FROM public.%I AS r',
					item.name,
					CASE WHEN facts.line = 3 THEN coalesce((SELECT k.value_int::text FROM public.key_value_store AS k WHERE k.id::text = 'SETTINGS_SYNC_SITE_ID'), 'NULL') ELSE 'NULL' END,
					item.name);
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END LOOP;
	END IF;

	/* ---- later: what failed because its parent came after it ---- */
	IF kind = 'retry' THEN
		command := CASE facts.line
			WHEN 2 THEN $sql$UPDATE public.sync_buffer AS b SET integration_datetime = NULL, integration_error = NULL
 WHERE b.integration_error ILIKE '%foreign key%'$sql$
			ELSE $sql$UPDATE public.sync_buffer AS b SET is_integrated = false, integration_datetime = NULL, integration_started_datetime = NULL, integration_error = NULL, integration_result = NULL
 WHERE b.is_integrated AND b.integration_result = 'ERROR' AND b.integration_error ILIKE '%foreign key%'
   AND NOT EXISTS (SELECT FROM public.sync_buffer AS l WHERE l.record_id = b.record_id AND l.table_name = b.table_name AND l.cursor > b.cursor)$sql$ END
			|| $sql$ AND b.received_datetime >= coalesce((SELECT max(l.at) FROM backup_realign_log AS l WHERE l.scenario IN ('omsupply', 'msupply', 'both')), '-infinity') AT TIME ZONE 'UTC'$sql$;
		EXECUTE regexp_replace(command, '^UPDATE public.sync_buffer AS b SET .*?WHERE', 'SELECT count(*) FROM public.sync_buffer AS b WHERE') INTO n;
		IF n > 0 THEN
			object := 'table sync_buffer';
			old_value := format('%s records failed because a record that they refer to was missing', n);
			new_value := 'to be integrated again';
			why := 'what they refer to may have come since, and omSupply never tries again by itself';
			RETURN NEXT;
			IF NOT dry_run THEN
				EXECUTE command;
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END IF;
	END IF;

	/* ---- the application may start ---- */
	IF kind IN ('omsupply', 'both') AND backup_realign_pending() THEN
		object := 'incarnation';
		SELECT format('timeline %s of cluster %s', i.timeline, i.system_identifier) INTO old_value FROM backup_incarnation AS i;
		SELECT format('timeline %s of cluster %s', c.timeline, c.system_identifier) INTO new_value FROM backup_current_incarnation() AS c;
		why := 'the restore is dealt with, and omSupply may start';
		RETURN NEXT;
		IF NOT dry_run THEN
			UPDATE backup_incarnation AS i
			   SET system_identifier = c.system_identifier, timeline = c.timeline, accepted_at = clock_timestamp()
			  FROM backup_current_incarnation() AS c;
			INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
			VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
		END IF;
	END IF;
END
$realign$;
COMMENT ON FUNCTION backup_realign(pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool)
IS 'repair the sync of omSupply after a restore; with dry_run it only tells what it would change';

CREATE FUNCTION backup_realign_report(highest pg_catalog.int8 DEFAULT NULL,
									  lost_until pg_catalog.timestamptz DEFAULT NULL,
									  base_dir pg_catalog.text DEFAULT NULL)
RETURNS TABLE (topic pg_catalog.text, finding pg_catalog.text)
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $report$
#variable_conflict use_column
DECLARE
	facts record;
	item record;
	incarnation record;
	is_lost bool;
	files text := backup_realign_report.base_dir;
	missing bigint := 0;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', e_n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS e_n ON e_n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	SELECT * INTO facts FROM backup_realign_facts(backup_realign_report.highest, backup_realign_report.lost_until);
	SELECT * INTO incarnation FROM backup_incarnation;
	is_lost := facts.known > facts.restored_max AND (incarnation IS NULL OR backup_realign_pending());
	topic := 'restore';
	IF incarnation IS NULL THEN
		finding := 'it is not known whether this database was restored: backup_preset_omsupply() was never called in it';
	ELSIF backup_realign_pending() THEN
		SELECT format('this database was restored: it belongs to timeline %s of cluster %s, and this is timeline %s of cluster %s',
					  incarnation.timeline, incarnation.system_identifier, c.timeline, c.system_identifier)
		  INTO finding FROM backup_current_incarnation() AS c;
	ELSE
		finding := format('this database was not restored since %s, or that was dealt with', incarnation.accepted_at);
	END IF;
	RETURN NEXT;

	IF backup_quarantine_state() <> 'none' THEN
		topic := 'quarantine';
		finding := 'the sync of omSupply is turned off until "SELECT backup_release_quarantine()"';
		RETURN NEXT;
	END IF;

	topic := 'changelog';
	finding := format('omSupply %s.x; the last row here has cursor %s, the sequence is at %s', facts.line, facts.restored_max, facts.restored_sequence);
	RETURN NEXT;
	IF facts.known IS NULL THEN
		finding := 'nothing is known of the time before: give the highest cursor that any site has seen as "highest"';
	ELSIF is_lost THEN
		finding := format('before, it had come to %s at least (measured last at %s): up to %s changes and more are lost here', facts.known, facts.known_at, facts.known - facts.restored_max);
	ELSE
		finding := format('before, it had come to %s (measured last at %s): nothing is known to be lost', facts.known, facts.known_at);
	END IF;
	RETURN NEXT;
	IF facts.target IS NOT NULL THEN
		finding := format('backup_realign() would have it go on at %s', greatest(facts.target, facts.restored_sequence));
		RETURN NEXT;
	END IF;

	topic := 'scenario';
	finding := CASE WHEN is_lost
		THEN 'omSupply is older than its remote sites. Is mSupply recent? Then it is "omsupply" (B.3.2). Was mSupply restored, too? Then it is "both" (B.3.4), and "msupply_at" is the instant of its backup'
		ELSE 'omSupply is not older than its remote sites. Was mSupply restored? Then it is "msupply" (B.3.1). Was a remote site? Then it is "remote" (B.3.3): initialise that site anew' END;
	RETURN NEXT;

	/* ---- what remote sites pushed that is lost here ---- */
	topic := 'remote site';
	IF is_lost AND EXISTS (SELECT FROM backup_watermark_values('omsupply-journal') AS w
						   WHERE w.value->>'database' = current_database() AND (w.value->>'is_skipped')::bool
							 AND (w.value->>'max_cursor')::bigint > facts.restored_max) THEN
		finding := 'more was written at once than the journal could take: the sites below may not be all';
		RETURN NEXT;
	END IF;
	FOR item IN
		WITH pieces AS (
			SELECT w.measured_at, w.value FROM backup_watermark_values('omsupply-journal') AS w
			 WHERE is_lost AND w.value->>'database' = current_database() AND (w.value->>'max_cursor')::bigint > facts.restored_max),
		rows AS (
			SELECT p.measured_at, (r.value->>0)::bigint AS cursor, r.value->>1 AS tab, (r.value->>5)::int AS site, 1 AS count
			  FROM pieces AS p, jsonb_array_elements(p.value->'rows') AS r
			 WHERE jsonb_typeof(p.value->'rows') = 'array'
			UNION ALL
			SELECT p.measured_at, (s.value->>'max')::bigint, array_to_string(ARRAY(SELECT jsonb_array_elements_text(s.value->'tables')), ', '), (s.value->>'source_site_id')::int, (s.value->>'count')::bigint
			  FROM pieces AS p, jsonb_array_elements(p.value->'sites') AS s
			 WHERE jsonb_typeof(p.value->'rows') IS DISTINCT FROM 'array')
		SELECT r.site, sum(r.count) AS count, min(r.measured_at) AS since, max(r.measured_at) AS until, string_agg(DISTINCT r.tab, ', ') AS tabs
		  FROM rows AS r
		 WHERE r.cursor > facts.restored_max
		   AND r.site IS NOT NULL
		   AND NOT EXISTS (SELECT FROM public.key_value_store AS k WHERE k.id::text IN ('SETTINGS_SYNC_SITE_ID', 'SETTINGS_SYNC_CENTRAL_SERVER_SITE_ID') AND k.value_int = r.site)
		 GROUP BY r.site ORDER BY r.site
	LOOP
		finding := format('site %s: %s changes that came from it between about %s and %s are lost here (%s); it has to push again: %s',
						  item.site, item.count, item.since, item.until, item.tabs,
						  CASE facts.line WHEN 3 THEN 'ask_remotes => true, or set its push cursor back'
						  ELSE 'stop it and set SYNC_PUSH_CURSOR_V6 in its table key_value_store back' END);
		RETURN NEXT;
	END LOOP;
	finding := 'do not initialise a remote site anew before it has pushed again: it may have the only copy';
	RETURN NEXT;

	/* ---- what failed since ---- */
	topic := 'integration';
	EXECUTE CASE facts.line WHEN 2 THEN $sql$SELECT count(*) FROM public.sync_buffer AS b WHERE b.integration_error ILIKE '%foreign key%'$sql$
		ELSE $sql$SELECT count(*) FROM public.sync_buffer AS b WHERE b.is_integrated AND b.integration_result = 'ERROR' AND b.integration_error ILIKE '%foreign key%'$sql$ END INTO missing;
	IF missing > 0 THEN
		finding := format('%s records failed because a record that they refer to is missing; when it has come, backup_realign(''retry'', false) lets them be tried again', missing);
		RETURN NEXT;
	END IF;

	/* ---- files that are referred to ---- */
	files := coalesce(files, incarnation.base_dir);
	IF files IS NOT NULL AND to_regclass('public.sync_file_reference') IS NOT NULL THEN
		topic := 'file';
		FOR item IN EXECUTE $sql$
			SELECT f.table_name || '/' || f.record_id || '/' || f.id || '_' || f.file_name AS path
			  FROM public.sync_file_reference AS f
			 WHERE f.deleted_datetime IS NULL
			   AND (f.direction::text = 'UPLOAD' OR (f.total_bytes > 0 AND f.uploaded_bytes = f.total_bytes))
			 ORDER BY 1$sql$
		LOOP
			IF (pg_stat_file(files || '/static_files/sync_files/' || item.path, true)).size IS NULL THEN
				finding := format('"%s" is referred to and is not there', item.path);
				RETURN NEXT;
			END IF;
		END LOOP;
	END IF;
END
$report$;
COMMENT ON FUNCTION backup_realign_report(pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text)
IS 'in plain words: what a restore did to the sync of omSupply, and what has to be done';

-- For omSupply's setting database.init_sql, which runs before omSupply works.
CREATE FUNCTION backup_on_app_start()
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $start$
DECLARE
	version text;
	point text;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', e_n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS e_n ON e_n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF backup_realign_pending() THEN
		RAISE EXCEPTION 'omSupply must not start: its database was restored, and its sync is not repaired'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'Remote sites remember more than this database has. What they are sent now could never reach them.',
				  HINT = 'Execute "SELECT * FROM backup_realign_report()" and then backup_realign(). If nothing is to be repaired, execute "SELECT backup_realign_accept()".';
	END IF;
	IF to_regclass('public.key_value_store') IS NOT NULL THEN
		SELECT k.value_string INTO version FROM public.key_value_store AS k WHERE k.id::text = 'DATABASE_VERSION';
	END IF;
	SELECT b.name INTO point FROM backup_before_upgrade('omSupply starts, was version ' || coalesce(version, 'not known')) AS b;
	RETURN point;
END
$start$;
COMMENT ON FUNCTION backup_on_app_start()
IS 'for omSupply''s setting init_sql: names a restore point; fails while a restore is not dealt with';

CREATE FUNCTION backup_realign_accept()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
	SELECT 'accept', 'incarnation',
		   pg_catalog.format('timeline %s of cluster %s', i.timeline, i.system_identifier),
		   pg_catalog.format('timeline %s of cluster %s', c.timeline, c.system_identifier),
		   'nothing is to be repaired'
	  FROM backup_incarnation AS i, backup_current_incarnation() AS c
	 WHERE backup_realign_pending();
	UPDATE backup_incarnation
	   SET system_identifier = c.system_identifier, timeline = c.timeline, accepted_at = pg_catalog.clock_timestamp()
	  FROM backup_current_incarnation() AS c;
END;
COMMENT ON FUNCTION backup_realign_accept()
IS 'let omSupply start after a restore without repairing its sync';

CREATE FUNCTION backup_quarantine_state()
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'omb_backup_quarantine_state'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION backup_quarantine_state()
IS 'none; waits: omSupply''s sync is about to be turned off; on';

CREATE FUNCTION backup_quarantine_end()
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'omb_backup_quarantine_end'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_quarantine_end()
IS 'for backup_release_quarantine()';

CREATE FUNCTION backup_release_quarantine()
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $release$
#variable_conflict use_column
DECLARE
	before bool;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', e_n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS e_n ON e_n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF backup_realign_pending() THEN
		RAISE EXCEPTION 'the sync of omSupply is not repaired yet'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Execute "SELECT * FROM backup_realign_report()" and then backup_realign(). If nothing is to be repaired, execute "SELECT backup_realign_accept()".';
	END IF;
	IF EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.application_name = 'open-msupply') THEN
		RAISE EXCEPTION 'omSupply is connected'
			USING ERRCODE = 'object_in_use', HINT = 'Stop it: it keeps the setting in memory.';
	END IF;
	IF to_regclass('public.key_value_store') IS NOT NULL THEN
		/* as it was before the quarantine began */
		SELECT l.old_value::bool INTO before FROM backup_realign_log AS l
		 WHERE l.scenario = 'quarantine' AND l.new_value = 'true'
		 ORDER BY l.log_id DESC LIMIT 1;
		before := coalesce(before, false);
		WITH change AS (
			UPDATE public.key_value_store AS k SET value_bool = before
			 WHERE k.id::text = 'SETTINGS_SYNC_IS_DISABLED' AND k.value_bool IS DISTINCT FROM before
			   AND backup_quarantine_state() <> 'none'
			RETURNING 1)
		INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
		SELECT 'quarantine', 'key SETTINGS_SYNC_IS_DISABLED', 'true', before::text, 'the quarantine was ended' FROM change;
	END IF;
	PERFORM backup_quarantine_end();
	RETURN CASE WHEN before THEN 'omSupply may start; its sync was turned off before, and still is' ELSE 'omSupply may start and sync' END;
END
$release$;
COMMENT ON FUNCTION backup_release_quarantine()
IS 'turn the sync of omSupply on again after a restore';

REVOKE ALL ON FUNCTION backup_quarantine_state() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_quarantine_end() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_release_quarantine() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_report(pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_on_app_start() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_accept() FROM PUBLIC;
REVOKE ALL ON backup_incarnation, backup_realign_log FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_current_incarnation() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_pending() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_omsupply_line() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_preset_omsupply(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_facts(pg_catalog.int8, pg_catalog.timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign(pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool) FROM PUBLIC;
