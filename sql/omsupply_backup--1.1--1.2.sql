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

-- realignment
