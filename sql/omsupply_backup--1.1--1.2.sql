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

CREATE FUNCTION backup_marks(OUT name pg_catalog.text,
							 OUT id pg_catalog.text,
							 OUT marked_at pg_catalog.timestamptz,
							 OUT lsn pg_catalog.pg_lsn,
							 OUT timeline pg_catalog.int8,
							 OUT detail pg_catalog.jsonb)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_mark_rows'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_marks()
IS 'the marks that the repository has, oldest first';
REVOKE ALL ON FUNCTION backup_marks() FROM PUBLIC;

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
IS 'the last value of each watermark, and why it could not be measured since; written when it changes, and once a day';

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

-- In 3.0 remote sites log in here, with tokens that are secret: a watermark
-- with "secret" in its name is shown nowhere. No table site in 2.x.
CREATE FUNCTION backup_omsupply_sites()
RETURNS pg_catalog.jsonb
LANGUAGE plpgsql STABLE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $sites$
DECLARE
	found jsonb;
BEGIN
	IF to_regclass('public.site') IS NULL THEN
		RETURN NULL;
	END IF;
	EXECUTE 'SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM public.site AS s' INTO found;
	RETURN coalesce(found, '[]');
END
$sites$;
COMMENT ON FUNCTION backup_omsupply_sites()
IS 'for a watermark: how remote sites of omSupply 3.0 log in';
REVOKE ALL ON FUNCTION backup_omsupply_sites() FROM PUBLIC;

CREATE FUNCTION backup_preset_omsupply(base_dir pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $preset$
DECLARE
	line int;
	schema text;
	home text := current_setting('omsupply_backup.database', true);
	app_role text;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	line := backup_omsupply_line();
	IF line IS NULL THEN
		RAISE EXCEPTION 'database "%" has no tables of omSupply', current_database()
			USING HINT = 'Connect to the database of omSupply and start omSupply once before. The extension has to be there: execute "CREATE EXTENSION omsupply_backup", and set "omsupply_backup.database" to its name.';
	END IF;
	IF home IS DISTINCT FROM current_database() THEN
		RAISE EXCEPTION 'watermarks are measured in database "%", not in "%"', home, current_database()
			USING DETAIL = 'Watermarks, schedules and the repair after a restore belong into the database of omSupply.',
				  HINT = format('Set "omsupply_backup.database" to ''%s'' and reload the server.', current_database());
	END IF;
	SELECT pg_get_userbyid(c.relowner) INTO app_role
	  FROM pg_class AS c WHERE c.oid = 'public.changelog'::regclass;
	SELECT quote_ident(n.nspname) INTO schema
	  FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	 WHERE e.extname = 'omsupply_backup';
	EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I; GRANT EXECUTE ON FUNCTION %1$s.backup_omsupply_sites() TO %2$I', schema, app_role);
	INSERT INTO backup_watermark (name, query, "interval", run_as) VALUES
	('omsupply', $query$SELECT current_database() AS database, (SELECT c.system_identifier FROM pg_control_system() AS c) AS cluster,
	(SELECT k.value_string FROM public.key_value_store AS k WHERE k.id::text = 'DATABASE_VERSION') AS version,
	(SELECT max(c.cursor) FROM public.changelog AS c) AS max_cursor,
	(SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END FROM public.changelog_cursor_seq AS s) AS sequence$query$, '1 minute', app_role),
	('omsupply-keys', $query$SELECT current_database() AS database, (SELECT c.system_identifier FROM pg_control_system() AS c) AS cluster, jsonb_object_agg(k.id::text, coalesce(to_jsonb(k.value_int), to_jsonb(k.value_string))) AS keys
  FROM public.key_value_store AS k WHERE k.id::text LIKE '%CURSOR%'$query$, '5 minutes', app_role),
	('omsupply-stores', $query$SELECT current_database() AS database, (SELECT c.system_identifier FROM pg_control_system() AS c) AS cluster,
	jsonb_object_agg(s.id, s.site_id) AS stores
  FROM public.store AS s$query$, '1 minute', app_role),
	('omsupply-secret-sites', format($query$SELECT current_database() AS database, (SELECT c.system_identifier FROM pg_control_system() AS c) AS cluster,
	%s.backup_omsupply_sites() AS sites$query$, schema), '1 minute', app_role),
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
	-- nothing happened: the last value will do for the next time, too
	coalesce(($1->>'is_empty')::bool AND NOT now.is_skipped AND (SELECT count(*) = 0 FROM found)
			 AND (SELECT max(p.v) = now.sequence AND now.next_xid - max(p.x) < 1000000 FROM points AS p), false) AS is_same,
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
			   max(v.measured_at) OVER () AS newest,
			   lag(v.timeline) OVER (ORDER BY v.measured_at) IS DISTINCT FROM v.timeline AS is_other
		  FROM v)
	/* the server that works now measures, too, and that tells nothing of the end */
	SELECT max(s.n), (SELECT max(p.measured_at) FROM backup_realign_past('omsupply') AS p),
		   /* a value that stays is not noted each time: all came in the last minute */
		   max(s.rows / greatest(least(extract(epoch FROM s.measured_at - s.since),
									   CASE WHEN s.measured_at > s.newest - '1 day'::interval THEN 60 END), 1))
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

-- Watermarks of this database from before the restore: not of the server that
-- works now, whose first values are those that were restored.
CREATE FUNCTION backup_realign_past(name pg_catalog.text,
									OUT measured_at pg_catalog.timestamptz,
									OUT value pg_catalog.jsonb)
RETURNS SETOF pg_catalog.record
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT w.measured_at, w.value
	  FROM backup_watermark_values(backup_realign_past.name) AS w, backup_current_incarnation() AS c
	 WHERE (w.value OPERATOR(pg_catalog.->>) 'database') OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text
	   AND NOT (backup_realign_pending()
				AND w.timeline OPERATOR(pg_catalog.=) c.timeline
				AND COALESCE((w.value OPERATOR(pg_catalog.->>) 'cluster')::pg_catalog.int8, c.system_identifier) OPERATOR(pg_catalog.=) c.system_identifier)
	 ORDER BY w.measured_at;
END;
COMMENT ON FUNCTION backup_realign_past(pg_catalog.text)
IS 'for backup_realign() and backup_realign_report(): what was measured before the restore';

-- "recent" or nothing: null
CREATE FUNCTION backup_realign_instant(given pg_catalog.text)
RETURNS pg_catalog.timestamptz
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $instant$
DECLARE
	found record;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF given IS NULL OR given = 'recent' THEN
		RETURN NULL;
	END IF;
	SELECT count(*), min(m.marked_at) AS at, string_agg(m.id, ', ') AS ids INTO found
	  FROM backup_marks() AS m WHERE m.name = given OR m.id = given;
	IF found.count = 1 THEN
		RETURN found.at;
	ELSIF found.count > 1 THEN
		RAISE EXCEPTION '% marks have the name "%"', found.count, given
			USING ERRCODE = 'ambiguous_parameter', DETAIL = format('Their ids are %s.', found.ids), HINT = 'Give the id instead of the name.';
	END IF;
	BEGIN
		RETURN given::timestamptz;
	EXCEPTION WHEN data_exception THEN
		RAISE EXCEPTION '"%" is neither a mark nor a time', given
			USING ERRCODE = 'invalid_parameter_value', HINT = '"SELECT * FROM backup_marks()" shows the marks.';
	END;
END
$instant$;
COMMENT ON FUNCTION backup_realign_instant(pg_catalog.text)
IS 'for backup_realign() and backup_realign_report(): the time of a mark, or one that is written out';

-- What remote sites pushed behind the restored instant, by the journal.
CREATE FUNCTION backup_realign_pushed(restored_max pg_catalog.int8,
									  OUT site pg_catalog.int4, OUT changes pg_catalog.int8,
									  OUT since pg_catalog.timestamptz, OUT until pg_catalog.timestamptz,
									  OUT tables pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $pushed$
#variable_conflict use_column
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	RETURN QUERY
		WITH pieces AS (
			SELECT w.measured_at, w.value FROM backup_watermark_values('omsupply-journal') AS w
			 WHERE w.value->>'database' = current_database() AND (w.value->>'max_cursor')::bigint > backup_realign_pushed.restored_max),
		rows AS (
			SELECT p.measured_at, (r.value->>0)::bigint AS cursor, r.value->>1 AS tab, (r.value->>5)::int AS source, 1::bigint AS count
			  FROM pieces AS p, jsonb_array_elements(p.value->'rows') AS r
			 WHERE jsonb_typeof(p.value->'rows') = 'array'
			UNION ALL
			SELECT p.measured_at, (s.value->>'max')::bigint, array_to_string(ARRAY(SELECT jsonb_array_elements_text(s.value->'tables')), ', '), (s.value->>'source_site_id')::int, (s.value->>'count')::bigint
			  FROM pieces AS p, jsonb_array_elements(p.value->'sites') AS s
			 WHERE jsonb_typeof(p.value->'rows') IS DISTINCT FROM 'array')
		SELECT r.source, sum(r.count)::bigint, min(r.measured_at), max(r.measured_at), string_agg(DISTINCT r.tab, ', ')
		  FROM rows AS r
		 WHERE r.cursor > backup_realign_pushed.restored_max
		   AND r.source IS NOT NULL
		   AND NOT EXISTS (SELECT FROM public.key_value_store AS k WHERE k.id::text IN ('SETTINGS_SYNC_SITE_ID', 'SETTINGS_SYNC_CENTRAL_SERVER_SITE_ID') AND k.value_int = r.source)
		 GROUP BY r.source ORDER BY r.source;
END
$pushed$;
COMMENT ON FUNCTION backup_realign_pushed(pg_catalog.int8)
IS 'for backup_realign() and backup_realign_report(): what each remote site pushed that is lost here';

-- Did the journal go on until nobody could push any more? It is measured each
-- minute, so of the last one it says nothing.
CREATE FUNCTION backup_realign_is_covered(restored_max pg_catalog.int8, lost_until pg_catalog.timestamptz)
RETURNS pg_catalog.bool
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT lost_until IS NOT NULL
	   AND NOT EXISTS (SELECT FROM backup_watermark_values('omsupply-journal') AS w
						WHERE (w.value OPERATOR(pg_catalog.->>) 'database') OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text
						  AND (w.value OPERATOR(pg_catalog.->>) 'is_skipped')::pg_catalog.bool
						  AND (w.value OPERATOR(pg_catalog.->>) 'max_cursor')::pg_catalog.int8 OPERATOR(pg_catalog.>) restored_max)
	   AND EXISTS (SELECT FROM backup_realign_past('omsupply') AS o
					WHERE o.measured_at OPERATOR(pg_catalog.>=) (lost_until OPERATOR(pg_catalog.+) '2 minutes'::pg_catalog.interval)
					  AND (o.value OPERATOR(pg_catalog.->>) 'max_cursor')::pg_catalog.int8 OPERATOR(pg_catalog.<=)
						  GREATEST(restored_max, (SELECT pg_catalog.max((j.value OPERATOR(pg_catalog.->>) 'max_cursor')::pg_catalog.int8)
													FROM backup_realign_past('omsupply-journal') AS j)));
END;
COMMENT ON FUNCTION backup_realign_is_covered(pg_catalog.int8, pg_catalog.timestamptz)
IS 'for backup_realign() and backup_realign_report(): does the journal name all sites that pushed?';

-- How sites of 3.0 log in: what was so before the restore and is not here.
-- Tokens and passwords are told by a few digits of their hash.
CREATE FUNCTION backup_realign_logins(OUT site pg_catalog.int4, OUT property pg_catalog.text,
									  OUT old_value pg_catalog.text, OUT new_value pg_catalog.text,
									  OUT was pg_catalog.jsonb)
RETURNS SETOF pg_catalog.record
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $logins$
#variable_conflict use_column
DECLARE
	last jsonb;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF to_regclass('public.site') IS NULL OR NOT backup_realign_pending() THEN
		RETURN;
	END IF;
	SELECT p.value->'sites' INTO last FROM backup_realign_past('omsupply-secret-sites') AS p
	 WHERE jsonb_typeof(p.value->'sites') = 'array' ORDER BY p.measured_at DESC LIMIT 1;
	RETURN QUERY EXECUTE $sql$
		WITH past AS (SELECT (s.value->>'id')::int AS id, s.value AS record FROM jsonb_array_elements($1) AS s),
		present AS (SELECT s.id, to_jsonb(s) AS record FROM public.site AS s),
		shown AS (
			SELECT t.id, p.name, t.record AS was, n.record IS NULL AS is_missing, n.record->>p.name AS old, t.record->>p.name AS new
			  FROM past AS t LEFT JOIN present AS n ON n.id = t.id,
				   unnest('{token,hardware_id,hashed_password,sync_version}'::text[]) AS p (name)
			 WHERE t.record ? p.name)
		SELECT s.id, CASE WHEN s.is_missing THEN 'row' ELSE s.name END,
			   CASE WHEN s.is_missing OR s.old IS NULL THEN NULL WHEN s.name IN ('token', 'hashed_password') THEN left(encode(sha256(convert_to(s.old, 'UTF8')), 'hex'), 8) || '... (hash)' ELSE s.old END,
			   CASE WHEN s.is_missing THEN 'as it was' WHEN s.new IS NULL THEN NULL WHEN s.name IN ('token', 'hashed_password') THEN left(encode(sha256(convert_to(s.new, 'UTF8')), 'hex'), 8) || '... (hash)' ELSE s.new END,
			   s.was
		  FROM shown AS s
		 WHERE CASE WHEN s.is_missing THEN s.name = 'token' ELSE s.old IS DISTINCT FROM s.new END
		 ORDER BY s.id, s.name$sql$ USING last;
END
$logins$;
COMMENT ON FUNCTION backup_realign_logins()
IS 'for backup_realign() and backup_realign_report(): how remote sites of omSupply 3.0 logged in before the restore';

-- Which site a store belonged to before the restore, where it does not here.
CREATE FUNCTION backup_realign_stores(OUT store pg_catalog.text, OUT old_site pg_catalog.int4, OUT new_site pg_catalog.int4)
RETURNS SETOF pg_catalog.record
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $stores$
#variable_conflict use_column
DECLARE
	last jsonb;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	IF NOT backup_realign_pending() THEN
		RETURN;
	END IF;
	SELECT p.value->'stores' INTO last FROM backup_realign_past('omsupply-stores') AS p
	 WHERE jsonb_typeof(p.value->'stores') = 'object' ORDER BY p.measured_at DESC LIMIT 1;
	RETURN QUERY
		SELECT e.key, s.site_id, e.value::int
		  FROM jsonb_each_text(last) AS e LEFT JOIN public.store AS s ON s.id = e.key
		 WHERE s.site_id IS DISTINCT FROM e.value::int ORDER BY e.key;
END
$stores$;
COMMENT ON FUNCTION backup_realign_stores()
IS 'for backup_realign() and backup_realign_report(): stores that belonged to another site before the restore';

CREATE FUNCTION backup_realign(scenario pg_catalog.text,
							   dry_run pg_catalog.bool DEFAULT true,
							   highest pg_catalog.int8 DEFAULT NULL,
							   lost_until pg_catalog.timestamptz DEFAULT NULL,
							   msupply_at pg_catalog.text DEFAULT NULL,
							   msupply_cursor pg_catalog.int8 DEFAULT NULL,
							   requeue pg_catalog.bool DEFAULT false,
							   rebroadcast pg_catalog.bool DEFAULT false,
							   ask_remotes pg_catalog.bool DEFAULT false,
							   sites pg_catalog.int4[] DEFAULT NULL)
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
	then_at timestamptz;
	asked int[];
	is_again bool;
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
	/* one that has just left may be seen for a moment */
	FOR n IN 1 .. CASE WHEN dry_run THEN 0 ELSE 50 END LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity AS a
							   WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid());
		PERFORM pg_sleep(0.1);
	END LOOP;
	SELECT string_agg(format('process %s (%s)', a.pid, coalesce(nullif(a.application_name, ''), 'no name')), ', ') INTO others
	  FROM pg_stat_activity AS a
	 WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid();
	IF others IS NOT NULL AND NOT dry_run THEN
		RAISE EXCEPTION 'others are connected to database "%"', current_database()
			USING ERRCODE = 'object_in_use', DETAIL = format('They are %s.', others),
				  HINT = 'Stop omSupply: it keeps its sync cursors in memory, and would overwrite them.';
	END IF;
	then_at := backup_realign_instant(backup_realign.msupply_at);
	IF then_at IS NULL AND backup_realign.msupply_at IS NOT NULL AND kind IN ('msupply', 'both') THEN
		RAISE EXCEPTION 'mSupply is "%", and scenario "%" is for one that was restored', backup_realign.msupply_at, kind
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the mark or the time that mSupply was restored to as "msupply_at", or nothing if it is not known.';
	END IF;
	SELECT * INTO facts FROM backup_realign_facts(backup_realign.highest, backup_realign.lost_until);
	IF NOT dry_run THEN
		/* no one may take a cursor meanwhile */
		LOCK TABLE public.changelog, public.key_value_store IN ACCESS EXCLUSIVE MODE NOWAIT;
	END IF;

	/* once that is dealt with, only what is asked for is done again */
	is_again := EXISTS (SELECT FROM backup_incarnation) AND NOT backup_realign_pending();

	/* ---- the sequence: past what any remote site can have seen ---- */
	IF kind IN ('omsupply', 'both') AND (NOT is_again OR highest IS NOT NULL) THEN
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
	IF kind IN ('both', 'msupply') OR (kind = 'omsupply' AND NOT is_again) THEN
		SELECT k.value_int INTO cursor_now FROM public.key_value_store AS k WHERE k.id::text = 'REMOTE_SYNC_PUSH_CURSOR';
		SELECT (w.value->'keys'->>'REMOTE_SYNC_PUSH_CURSOR')::bigint INTO cursor_then
		  FROM backup_realign_past('omsupply-keys') AS w
		 WHERE kind = 'omsupply' OR w.measured_at <= then_at
		 ORDER BY w.measured_at DESC LIMIT 1;
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

	/* ---- remote sites of 3.0 log in here, and push for their stores ---- */
	IF kind IN ('omsupply', 'both') AND facts.line = 3 THEN
		FOR item IN SELECT * FROM backup_realign_logins() LOOP
			object := format('site %s, %s', item.site, item.property);
			old_value := item.old_value;
			new_value := item.new_value;
			why := CASE item.property WHEN 'row' THEN 'the site was added since the restored instant, and could not log in' ELSE 'it changed since the restored instant, and the site could not log in' END;
			RETURN NEXT;
			IF NOT dry_run THEN
				IF item.property = 'row' THEN
					EXECUTE 'INSERT INTO public.site SELECT * FROM jsonb_populate_record(NULL::public.site, $1)' USING item.was;
				ELSE
					EXECUTE format('UPDATE public.site SET %1$I = (jsonb_populate_record(NULL::public.site, $1)).%1$I WHERE id = $2', item.property) USING item.was, item.site;
				END IF;
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END LOOP;
		FOR item IN SELECT * FROM backup_realign_stores() AS s WHERE kind = 'omsupply' AND s.old_site IS NOT NULL LOOP
			object := format('store %s', item.store);
			old_value := format('site %s', item.old_site);
			new_value := format('site %s', item.new_site);
			why := 'it was given to this site since the restored instant; what the site pushes for it would be ignored for good';
			RETURN NEXT;
			IF NOT dry_run THEN
				UPDATE public.store SET site_id = item.new_site WHERE id = item.store;
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END LOOP;
	END IF;

	/* ---- a remote site that was restored is to be initialised anew ---- */
	IF kind = 'remote' AND backup_realign.sites IS NOT NULL THEN
		IF to_regclass('public.site') IS NULL THEN
			RAISE EXCEPTION 'omSupply 2.x does not know how its sites log in: mSupply does'
				USING HINT = 'Clear the hardware id of the site in mSupply.';
		END IF;
		IF backup_realign_pending() THEN
			RAISE EXCEPTION 'this database was restored itself, and the sites may have the only copy of what is lost here'
				USING ERRCODE = 'object_not_in_prerequisite_state',
					  HINT = 'Repair that first, as backup_realign_report() says, and let the sites push again.';
		END IF;
		FOREACH n IN ARRAY backup_realign.sites LOOP
			EXECUTE 'SELECT s.token IS NOT NULL AS token, s.hardware_id FROM public.site AS s WHERE s.id = $1' INTO item USING n::int;
			IF item IS NULL AND NOT EXISTS (SELECT FROM public.site AS s WHERE s.id = n) THEN
				RAISE EXCEPTION 'there is no site %', n USING HINT = 'Table "site" has all of them.';
			END IF;
			CONTINUE WHEN NOT item.token AND item.hardware_id IS NULL;
			object := format('site %s, token and hardware_id', n);
			old_value := format('%s, hardware id %s', CASE WHEN item.token THEN 'a token' ELSE 'no token' END, coalesce(item.hardware_id, 'none'));
			new_value := 'none';
			why := 'so that the site can be initialised anew';
			RETURN NEXT;
			IF NOT dry_run THEN
				EXECUTE 'UPDATE public.site SET token = NULL, hardware_id = NULL WHERE id = $1' USING n::int;
				INSERT INTO backup_realign_log (scenario, object, old_value, new_value, why)
				VALUES (kind, backup_realign.object, backup_realign.old_value, backup_realign.new_value, backup_realign.why);
			END IF;
		END LOOP;
	END IF;

	/* ---- remote sites of 3.0 push again what they had pushed ---- */
	IF kind IN ('omsupply', 'both') AND (ask_remotes OR backup_realign.sites IS NOT NULL) THEN
		/* those that are known to have pushed, if others are known not to have */
		asked := backup_realign.sites;
		IF asked IS NULL AND backup_realign_is_covered(facts.restored_max, backup_realign.lost_until) THEN
			SELECT coalesce(array_agg(p.site), '{}') INTO asked FROM backup_realign_pushed(facts.restored_max) AS p;
		END IF;
		IF facts.line <> 3 OR to_regclass('public.sync_request') IS NULL THEN
			RAISE EXCEPTION 'this version of omSupply cannot ask remote sites to push again'
				USING HINT = 'backup_realign_report() tells which sites need their push cursor set back by hand.';
		END IF;
		FOREACH n IN ARRAY coalesce(backup_realign.sites, '{}') LOOP
			IF NOT EXISTS (SELECT FROM public.store AS s WHERE s.site_id = n) THEN
				RAISE EXCEPTION 'site % cannot be asked: it has no store here', n
					USING HINT = 'Table "store" tells which site each store belongs to. Name the other sites as "sites".';
			END IF;
		END LOOP;
		FOR item IN
			SELECT DISTINCT ON (s.site_id) s.site_id, s.id AS store
			  FROM public.store AS s
			 WHERE s.site_id <> coalesce((SELECT k.value_int FROM public.key_value_store AS k WHERE k.id::text = 'SETTINGS_SYNC_SITE_ID'), 0)
			   AND (asked IS NULL OR s.site_id = ANY (asked))
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
COMMENT ON FUNCTION backup_realign(pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.int8, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.int4[])
IS 'repair the sync of omSupply after a restore; with dry_run it only tells what it would change';

-- Where recovery ended, as the history of the timeline says; null if it does
-- not, or must not be read.
CREATE FUNCTION backup_realign_restored_to()
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $restored$
DECLARE
	ended text[];
	mark record;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	BEGIN
		SELECT regexp_match(l.line, '^\s*\d+\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)\s+(.*)$') INTO ended
		  FROM backup_current_incarnation() AS c,
			   regexp_split_to_table(pg_read_file(format('pg_wal/%s.history', lpad(upper(to_hex(c.timeline)), 8, '0')), 0, 1000000, true), '\n') WITH ORDINALITY AS l (line, n)
		 WHERE l.line ~ '^\s*\d+\s'
		 ORDER BY l.n DESC LIMIT 1;
	EXCEPTION WHEN insufficient_privilege THEN
		RETURN NULL;
	END;
	SELECT m.name, m.marked_at INTO mark FROM backup_marks() AS m
	 WHERE m.id = substring(ended[2] FROM '^at restore point "mark (.*)"$');
	RETURN CASE WHEN mark.name IS NOT NULL THEN format('mark "%s" of %s (LSN %s)', mark.name, mark.marked_at, ended[1])
		   ELSE format('LSN %s, %s', ended[1], ended[2]) END
	 WHERE ended IS NOT NULL;
END
$restored$;
COMMENT ON FUNCTION backup_realign_restored_to()
IS 'for backup_realign_report(): to which instant this server was restored';

CREATE FUNCTION backup_realign_report(highest pg_catalog.int8 DEFAULT NULL,
									  lost_until pg_catalog.timestamptz DEFAULT NULL,
									  base_dir pg_catalog.text DEFAULT NULL,
									  msupply_at pg_catalog.text DEFAULT NULL)
RETURNS TABLE (topic pg_catalog.text, finding pg_catalog.text)
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $report$
#variable_conflict use_column
DECLARE
	facts record;
	item record;
	incarnation record;
	is_pending bool := false;
	is_lost bool;
	then_at timestamptz;
	files text := backup_realign_report.base_dir;
	missing bigint := 0;
	seen bigint;
BEGIN
	PERFORM set_config('search_path', format('pg_catalog, %I, pg_temp', e_n.nspname), true)
	   FROM pg_extension AS e JOIN pg_namespace AS e_n ON e_n.oid = e.extnamespace
	  WHERE e.extname = 'omsupply_backup';
	then_at := backup_realign_instant(backup_realign_report.msupply_at);
	SELECT * INTO facts FROM backup_realign_facts(backup_realign_report.highest, backup_realign_report.lost_until);
	SELECT * INTO incarnation FROM backup_incarnation;
	is_pending := backup_realign_pending();
	is_lost := facts.known > facts.restored_max AND (incarnation IS NULL OR is_pending);
	topic := 'restore';
	IF incarnation IS NULL THEN
		finding := 'it is not known whether this database was restored: backup_preset_omsupply() was never called in it';
	ELSIF is_pending THEN
		SELECT format('this database was restored: it belongs to timeline %s of cluster %s, and this is timeline %s of cluster %s',
					  incarnation.timeline, incarnation.system_identifier, c.timeline, c.system_identifier)
		  INTO finding FROM backup_current_incarnation() AS c;
		RETURN NEXT;
		finding := CASE WHEN incarnation.system_identifier <> (SELECT c.system_identifier FROM backup_current_incarnation() AS c)
			THEN 'a dump of it was loaded into another cluster'
			ELSE coalesce('it was restored to ' || backup_realign_restored_to(), 'it is not known to which instant') END;
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

	/* ---- which scenario, as far as that can be told ---- */
	topic := 'scenario';
	finding := CASE
		WHEN is_lost AND then_at IS NOT NULL
		THEN format('omSupply is older than its remote sites, and mSupply was restored to %s: it is "both" (B.3.4)', then_at)
		WHEN is_lost AND backup_realign_report.msupply_at IS NOT NULL
		THEN 'omSupply is older than its remote sites, and mSupply is recent: it is "omsupply" (B.3.2)'
		WHEN is_lost
		THEN 'omSupply is older than its remote sites. Is mSupply recent? Then it is "omsupply" (B.3.2). Was mSupply restored, too? Then it is "both" (B.3.4), and "msupply_at" is the instant of its backup'
		WHEN then_at IS NOT NULL
		THEN format('omSupply is not older than its remote sites, and mSupply was restored to %s: it is "msupply" (B.3.1)', then_at)
		ELSE 'omSupply is not older than its remote sites. Was mSupply restored? Then it is "msupply" (B.3.1). Was a remote site? Then it is "remote" (B.3.3)' END;
	RETURN NEXT;
	IF then_at IS NOT NULL OR (backup_realign_report.msupply_at IS NULL AND is_lost) THEN
		/* it may have been read by others, further than what is here */
		SELECT max(v.n) INTO seen FROM (
			SELECT (p.value->'keys'->>'CENTRAL_SYNC_PULL_CURSOR')::bigint FROM backup_realign_past('omsupply-keys') AS p
			UNION ALL
			SELECT k.value_int FROM public.key_value_store AS k WHERE k.id::text = 'CENTRAL_SYNC_PULL_CURSOR') AS v (n);
		finding := format('if mSupply was restored: it must not number its central records anew. Have its central_change_log go on above %s, which omSupply has seen, and above what any site has seen; and give where it goes on from as "msupply_cursor" if that was not done', coalesce(seen, 0));
		RETURN NEXT;
	END IF;

	/* ---- what remote sites pushed that is lost here ---- */
	topic := 'remote site';
	IF is_lost AND EXISTS (SELECT FROM backup_watermark_values('omsupply-journal') AS w
						   WHERE w.value->>'database' = current_database() AND (w.value->>'is_skipped')::bool
							 AND (w.value->>'max_cursor')::bigint > facts.restored_max) THEN
		finding := 'more was written at once than the journal could take: the sites below may not be all';
		RETURN NEXT;
	END IF;
	FOR item IN SELECT * FROM backup_realign_pushed(facts.restored_max) WHERE is_lost LOOP
		finding := format('site %s: %s changes that came from it between about %s and %s are lost here (%s); it has to push again: %s',
						  item.site, item.changes, item.since, item.until, item.tables,
						  CASE facts.line WHEN 3 THEN 'ask_remotes => true, or set its push cursor back'
						  ELSE 'stop it and set SYNC_PUSH_CURSOR_V6 in its table key_value_store back' END);
		RETURN NEXT;
	END LOOP;
	IF is_lost THEN
		finding := CASE WHEN backup_realign_is_covered(facts.restored_max, backup_realign_report.lost_until)
			THEN 'others pushed nothing in the lost time'
			ELSE format('of others that is not known: what they pushed just before the end was not measured (last at %s). Have all push again, unless you know better', facts.known_at) END;
		RETURN NEXT;
		finding := 'omSupply does not record which sites pulled: each counts as if it had pulled all';
		RETURN NEXT;
	END IF;
	finding := 'do not initialise a remote site anew before it has pushed again: it may have the only copy';
	RETURN NEXT;

	/* ---- whether they can log in ---- */
	topic := 'login';
	FOR item IN SELECT l.site, string_agg(l.property, ', ' ORDER BY l.property) AS what, bool_or(l.property = 'row') AS is_missing
				  FROM backup_realign_logins() AS l WHERE facts.line = 3 GROUP BY l.site ORDER BY l.site LOOP
		finding := CASE WHEN item.is_missing THEN format('site %s was added in the lost time: backup_realign() puts its row into table site again', item.site)
				   ELSE format('site %s could not log in: its %s changed in the lost time; backup_realign() sets that as it was last', item.site, item.what) END;
		RETURN NEXT;
	END LOOP;
	FOR item IN SELECT * FROM backup_realign_stores() AS s WHERE facts.line = 3 LOOP
		finding := CASE WHEN item.old_site IS NULL THEN format('store %s of site %s is not here: let omSupply sync with mSupply, which has it, before site %2$s may sync, for what it pushes would be ignored; then have it asked to push again: backup_realign(''omsupply'', false, sites => ''{%2$s}'')', item.store, item.new_site)
				   ELSE format('store %s belonged to site %s, and here belongs to %s: what that site pushes for it would be ignored; scenario "omsupply" sets it as it was last', item.store, item.new_site, item.old_site) END;
		RETURN NEXT;
	END LOOP;
	IF facts.line = 3 AND is_lost THEN
		finding := 'a site that cannot log in afterwards got its token after the last measurement: set token and hardware_id of its row in table site to null, and enter its password at the site';
		RETURN NEXT;
	END IF;

	/* ---- a remote site that was restored ---- */
	topic := 'restored site';
	IF facts.line = 3 AND NOT is_pending THEN
		FOR item IN
			WITH v AS (
				SELECT w.measured_at, (s.value->>'id')::int AS site, s.value->>'hardware_id' AS id
				  FROM backup_watermark_values('omsupply-secret-sites', greatest(now() - '31 days'::interval, incarnation.accepted_at)) AS w, jsonb_array_elements(w.value->'sites') AS s
				 WHERE w.value->>'database' = current_database() AND jsonb_typeof(w.value->'sites') = 'array'),
			steps AS (SELECT v.*, lag(v.id) OVER (PARTITION BY v.site ORDER BY v.measured_at) AS before FROM v)
			SELECT s.site, max(s.measured_at) AS at FROM steps AS s WHERE s.id <> s.before GROUP BY s.site ORDER BY s.site
		LOOP
			finding := format('the hardware id of site %s changed at about %s: it was initialised anew, or moved to another machine', item.site, item.at);
			RETURN NEXT;
		END LOOP;
		/* what comes as it was before, after something newer, is from an old copy */
		FOR item IN EXECUTE $sql$
			WITH recent AS (
				SELECT b.source_site_id AS site, b.table_name, b.record_id, md5(b.data) AS content, b.cursor
				  FROM public.sync_buffer AS b WHERE b.cursor > (SELECT max(m.cursor) FROM public.sync_buffer AS m) - 20000),
			marked AS (
				SELECT r.*, lag(r.content) OVER one AS before, min(r.cursor) OVER (PARTITION BY r.site, r.table_name, r.record_id, r.content) AS first
				  FROM recent AS r WINDOW one AS (PARTITION BY r.site, r.table_name, r.record_id ORDER BY r.cursor))
			SELECT m.site, count(DISTINCT (m.table_name, m.record_id)) AS count FROM marked AS m
			 WHERE m.before <> m.content AND m.first < m.cursor GROUP BY m.site ORDER BY m.site$sql$
		LOOP
			finding := format('site %s pushed %s records once more as they had been before newer ones: perhaps it was restored from an old copy (B.3.3)', item.site, item.count);
			RETURN NEXT;
		END LOOP;
	END IF;
	finding := CASE WHEN is_lost THEN 'if a remote site was restored (B.3.3): first repair this server, and let all sites push again'
		WHEN facts.line = 3 THEN 'if a remote site was restored from an old copy (B.3.3): stop omSupply there before it syncs, as it would push old records over newer ones. Execute backup_realign(''remote'', false, sites => ''{N}'') here, which clears its token and hardware id. Then empty its database and its app_data, start omSupply there and enter the name and the password of the site: it gets all that this server has of it. What it had not pushed is lost with its machine'
		ELSE 'if a remote site was restored from an old copy (B.3.3): stop omSupply there before it syncs, as it would push old records over newer ones. Clear the hardware id of the site in mSupply. Then empty its database and its app_data, start omSupply there and enter the name and the password of the site: it gets all that the central servers have of it. What it had not pushed is lost with its machine' END;
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
COMMENT ON FUNCTION backup_realign_report(pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text)
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
REVOKE ALL ON FUNCTION backup_realign_report(pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_on_app_start() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_accept() FROM PUBLIC;
REVOKE ALL ON backup_incarnation, backup_realign_log FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_current_incarnation() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_pending() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_omsupply_line() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_preset_omsupply(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_restored_to() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_past(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_instant(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_pushed(pg_catalog.int8) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_is_covered(pg_catalog.int8, pg_catalog.timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_logins() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_stores() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign_facts(pg_catalog.int8, pg_catalog.timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_realign(pg_catalog.text, pg_catalog.bool, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.int8, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.int4[]) FROM PUBLIC;
