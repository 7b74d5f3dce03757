/* omsupply_backup--1.0.sql: the SQL objects of version 1.0 */

\echo Use "CREATE EXTENSION omsupply_backup" to load this file. \quit

CREATE FUNCTION backup_now(label pg_catalog.text DEFAULT NULL,
						   kind pg_catalog.text DEFAULT 'auto',
						   wait pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'omb_backup_now'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_now(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
IS 'take a base backup; returns its id; with wait => false as soon as it has started';

CREATE FUNCTION backup_cancel()
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'omb_backup_cancel'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_cancel()
IS 'stop the running backup; false when there is none';

CREATE FUNCTION backup_list(OUT id pg_catalog.text,
							OUT label pg_catalog.text,
							OUT kind pg_catalog.text,
							OUT started_at pg_catalog.timestamptz,
							OUT stopped_at pg_catalog.timestamptz,
							OUT start_lsn pg_catalog.pg_lsn,
							OUT stop_lsn pg_catalog.pg_lsn,
							OUT timeline pg_catalog.int8,
							OUT database_bytes pg_catalog.int8,
							OUT stored_bytes pg_catalog.int8,
							OUT files pg_catalog.int8,
							OUT damaged_pages pg_catalog.int8)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_list'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_list()
IS 'the backups in the repository, oldest first';

CREATE FUNCTION backup_adopt()
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'omb_backup_adopt'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_adopt()
IS 'make the repository belong to this server instead of the one it was copied or restored from';

CREATE FUNCTION backup_progress_rows(OUT pid pg_catalog.int4,
									 OUT backup_id pg_catalog.text,
									 OUT label pg_catalog.text,
									 OUT kind pg_catalog.text,
									 OUT phase pg_catalog.text,
									 OUT requested_by pg_catalog.text,
									 OUT started_at pg_catalog.timestamptz,
									 OUT bytes_done pg_catalog.int8,
									 OUT bytes_total pg_catalog.int8,
									 OUT bytes_stored pg_catalog.int8,
									 OUT files_done pg_catalog.int8,
									 OUT files_total pg_catalog.int8,
									 OUT waiting_for pg_catalog.text)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_progress'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION backup_progress_rows()
IS 'what the view backup_progress shows';

CREATE VIEW backup_progress AS
SELECT p.pid, p.backup_id, p.label, p.kind, p.phase, p.requested_by,
	   p.started_at, p.bytes_done, p.bytes_total,
	   pg_catalog.round(p.bytes_done OPERATOR(pg_catalog.*) 100.0
						OPERATOR(pg_catalog./) p.bytes_total, 1) AS percent,
	   p.bytes_stored, p.files_done, p.files_total,
	   (p.bytes_done OPERATOR(pg_catalog./) r.seconds)::pg_catalog.int8 AS bytes_per_second,
	   CASE WHEN p.phase OPERATOR(pg_catalog.=) 'copy' AND p.bytes_done OPERATOR(pg_catalog.>) 0 THEN
			pg_catalog.make_interval(secs =>
				pg_catalog.round(((p.bytes_total OPERATOR(pg_catalog.-) p.bytes_done)
					OPERATOR(pg_catalog.*) r.seconds
					OPERATOR(pg_catalog./) p.bytes_done)::pg_catalog.numeric)::pg_catalog.float8)
	   END AS remaining,
	   p.waiting_for
  FROM backup_progress_rows() AS p,
	   -- no NULLIF: its operator would be looked up along the search_path
	   LATERAL (SELECT CASE WHEN t.seconds OPERATOR(pg_catalog.>) 0::pg_catalog.float8
							THEN t.seconds END AS seconds
				  FROM (SELECT pg_catalog.date_part('epoch',
							pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.started_at)) AS t (seconds)) AS r;
COMMENT ON VIEW backup_progress
IS 'the backup that is running now, if any';

CREATE TABLE backup_retention (
	store pg_catalog.text PRIMARY KEY DEFAULT 'local',
	keep_last pg_catalog.int4 CHECK (keep_last OPERATOR(pg_catalog.>=) 0),
	keep_days pg_catalog.int4 CHECK (keep_days OPERATOR(pg_catalog.>=) 0),
	keep_weeks pg_catalog.int4 CHECK (keep_weeks OPERATOR(pg_catalog.>=) 0),
	keep_months pg_catalog.int4 CHECK (keep_months OPERATOR(pg_catalog.>=) 0),
	keep_years pg_catalog.int4 CHECK (keep_years OPERATOR(pg_catalog.>=) 0),
	keep_wal_days pg_catalog.int4 CHECK (keep_wal_days OPERATOR(pg_catalog.>=) 0),
	minimum pg_catalog.int4 NOT NULL DEFAULT 1 CHECK (minimum OPERATOR(pg_catalog.>=) 0)
);
COMMENT ON TABLE backup_retention
IS 'which backups and how much WAL backup_expire() keeps; a rule that is null or 0 is not set';

-- A dump has the row that CREATE EXTENSION makes, too: it takes its place.
CREATE FUNCTION backup_retention_replace()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_backup_retention_replace'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_retention_replace()
IS 'trigger: a new row of backup_retention takes the place of the old one for that store';
CREATE TRIGGER backup_retention_replace
BEFORE INSERT ON backup_retention
FOR EACH ROW EXECUTE FUNCTION backup_retention_replace();

INSERT INTO backup_retention (store, keep_last, keep_days, keep_weeks, keep_months, keep_wal_days)
VALUES ('local', 3, 7, 5, 12, 8);
SELECT pg_catalog.pg_extension_config_dump('backup_retention', '');

CREATE FUNCTION backup_expire_rows(dry_run pg_catalog.bool,
								   keep_last pg_catalog.int4,
								   keep_days pg_catalog.int4,
								   keep_weeks pg_catalog.int4,
								   keep_months pg_catalog.int4,
								   keep_years pg_catalog.int4,
								   keep_wal_days pg_catalog.int4,
								   minimum pg_catalog.int4,
								   OUT object pg_catalog.text,
								   OUT name pg_catalog.text,
								   OUT verdict pg_catalog.text,
								   OUT reason pg_catalog.text)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_expire'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_expire_rows(pg_catalog.bool, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4)
IS 'backup_expire() with the rules given';

-- without a row for the store no rule is set, and everything is kept
CREATE FUNCTION backup_expire(dry_run pg_catalog.bool DEFAULT false)
RETURNS TABLE (object pg_catalog.text, name pg_catalog.text,
			   verdict pg_catalog.text, reason pg_catalog.text)
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT e.object, e.name, e.verdict, e.reason
	  FROM (SELECT 'local'::pg_catalog.text AS store) AS s
	  LEFT JOIN backup_retention AS r ON r.store OPERATOR(pg_catalog.=) s.store,
		   LATERAL backup_expire_rows(backup_expire.dry_run, r.keep_last, r.keep_days,
									  r.keep_weeks, r.keep_months, r.keep_years,
									  r.keep_wal_days, r.minimum) AS e;
END;
COMMENT ON FUNCTION backup_expire(pg_catalog.bool)
IS 'remove backups and WAL that no rule of backup_retention keeps; the verdict on each with its reason';

CREATE FUNCTION backup_pin(id pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'omb_backup_pin'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_pin(pg_catalog.text, pg_catalog.text)
IS 'keep a backup whatever the rules of backup_retention say';

CREATE FUNCTION backup_unpin(id pg_catalog.text)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'omb_backup_unpin'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_unpin(pg_catalog.text)
IS 'leave a backup to the rules of backup_retention again';

REVOKE ALL ON backup_retention FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_retention_replace() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_expire_rows(pg_catalog.bool, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_expire(pg_catalog.bool) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_pin(pg_catalog.text, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_unpin(pg_catalog.text) FROM PUBLIC;

REVOKE ALL ON FUNCTION backup_now(pg_catalog.text, pg_catalog.text, pg_catalog.bool) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_cancel() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_list() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_adopt() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_progress_rows() FROM PUBLIC;
REVOKE ALL ON backup_progress FROM PUBLIC;
GRANT SELECT ON backup_progress TO pg_monitor;
GRANT EXECUTE ON FUNCTION backup_progress_rows() TO pg_monitor;
