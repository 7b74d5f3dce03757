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

-- realignment
