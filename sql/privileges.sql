-- what the extension brings, who may use it, and what it refuses
CREATE EXTENSION omsupply_backup;

SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
       has_function_privilege('public', p.oid, 'EXECUTE') AS public,
       obj_description(p.oid, 'pg_proc') IS NOT NULL AS has_comment
  FROM pg_proc p
  JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'omsupply_backup'
 ORDER BY 1;

SELECT has_table_privilege('pg_monitor', 'backup_progress', 'SELECT') AS pg_monitor,
       has_table_privilege('public', 'backup_progress', 'SELECT') AS public,
       has_table_privilege('public', 'backup_retention', 'SELECT') AS public_retention,
       obj_description('backup_progress'::regclass) IS NOT NULL AS has_comment;

CREATE ROLE regress_omb_nobody;
SET ROLE regress_omb_nobody;
SELECT backup_now();
SELECT backup_cancel();
SELECT * FROM backup_list();
SELECT backup_adopt();
SELECT * FROM backup_progress;
SELECT * FROM backup_expire(true);
SELECT backup_pin('x');
SELECT backup_unpin('x');
SELECT * FROM backup_retention;
SET omsupply_backup.repository = '/tmp';
SHOW omsupply_backup.key_file;
RESET ROLE;

-- a role may be given one thing and nothing else
GRANT EXECUTE ON FUNCTION backup_now(text, text, boolean) TO regress_omb_nobody;
SET ROLE regress_omb_nobody;
SELECT backup_now(kind => 'nonsense');
SELECT backup_list();
RESET ROLE;
REVOKE ALL ON FUNCTION backup_now(text, text, boolean) FROM regress_omb_nobody;
DROP ROLE regress_omb_nobody;

-- arguments
SELECT backup_now(kind => 'nonsense');
SELECT backup_now(E'two\nlines');
SELECT backup_now(repeat('x', 300));

-- retention: the defaults, what is refused, and a row that replaces
SELECT * FROM backup_retention;
UPDATE backup_retention SET keep_days = -1;
UPDATE backup_retention SET minimum = -1;
UPDATE backup_retention SET minimum = NULL;
INSERT INTO backup_retention (store, keep_last) VALUES ('local', 9);
INSERT INTO backup_retention (keep_wal_days) VALUES (3);
INSERT INTO backup_retention (store, keep_years) VALUES ('elsewhere', 2);
SELECT * FROM backup_retention ORDER BY store;
SELECT extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'omsupply_backup';
SELECT backup_retention_replace();
SELECT backup_pin(NULL);
SELECT backup_pin('x', repeat('x', 2000));

-- nothing is configured yet
SELECT backup_now();
SELECT * FROM backup_list();
SELECT backup_adopt();
SELECT * FROM backup_expire();
SELECT backup_pin('20261120T231502Z-7f3a');
SELECT backup_unpin('20261120T231502Z-7f3a');
SELECT backup_cancel();
SELECT * FROM backup_progress;

-- settings
SELECT name, setting, unit, context FROM pg_settings
 WHERE name LIKE 'omsupply\_backup.%' AND name <> 'omsupply_backup.repository' ORDER BY name;
SET omsupply_backup.nonsense = 1;

-- in a schema of its own, and moved
DROP EXTENSION omsupply_backup;
CREATE SCHEMA somewhere;
CREATE EXTENSION omsupply_backup SCHEMA somewhere;
SELECT somewhere.backup_cancel();
SELECT * FROM somewhere.backup_expire();
SELECT count(*) FROM somewhere.backup_retention;
SELECT count(*) FROM somewhere.backup_progress;
ALTER EXTENSION omsupply_backup SET SCHEMA public;
SELECT backup_cancel();
SELECT * FROM backup_expire();
INSERT INTO backup_retention (store) VALUES ('local');
SELECT count(*) FROM backup_retention;
SELECT count(*) FROM backup_progress;
DROP EXTENSION omsupply_backup;
DROP SCHEMA somewhere;
