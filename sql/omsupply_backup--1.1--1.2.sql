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

-- marks, watermarks

-- realignment
