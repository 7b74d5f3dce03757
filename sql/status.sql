-- status and health where nothing is configured; what may be called and by whom
CREATE EXTENSION omsupply_backup;

SELECT state, reasons, last_backup_id, last_backup_age, recoverable_from, wal_waiting_files >= 0 AS waiting,
       repository_bytes, days_until_full, next_run_at, surveyed_at
  FROM backup_status;
SELECT failures, failing_since, message, current_wal ~ '^[0-9A-F]{24}$' AS current, gaps, given_up_files FROM backup_wal_status;
SELECT name, result, found, hint FROM backup_check('0') WHERE name NOT IN ('max_worker_processes', 'launcher');
SELECT name, result FROM backup_check('0') WHERE name = 'max_worker_processes';

SELECT a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a WHERE attrelid = 'backup_status'::regclass AND attnum > 0 ORDER BY attnum;
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a WHERE attrelid = 'backup_wal_status'::regclass AND attnum > 0 ORDER BY attnum;

-- arguments
SELECT backup_check('-1 s');
SELECT backup_check('2 hours');
SELECT backup_check('1 month');
SELECT count(*) FROM backup_check(NULL);
SELECT backup_confirm_recovery_code('x');
SELECT backup_confirm_recovery_code(repeat('x', 1000));
SELECT backup_confirm_recovery_code(NULL);

-- an application is never stopped
SELECT backup_before_upgrade('before 2.20') IS NULL AS nothing;
SELECT * FROM backup_before_upgrade(NULL, NULL);
BEGIN;
SELECT backup_before_upgrade(repeat('x', 1000), '0') IS NULL AS nothing;
COMMIT;

-- who may look and who may act
CREATE ROLE regress_omb_watcher IN ROLE pg_monitor;
CREATE ROLE regress_omb_other;
SET ROLE regress_omb_watcher;
SELECT state FROM backup_status;
SELECT failures FROM backup_wal_status;
SELECT backup_check();
SELECT backup_confirm_recovery_code('x');
SELECT backup_before_upgrade('x');
SET ROLE regress_omb_other;
SELECT state FROM backup_status;
SELECT failures FROM backup_wal_status;
SELECT backup_status_row();
RESET ROLE;
DROP ROLE regress_omb_watcher;
DROP ROLE regress_omb_other;

-- settings
SELECT name, setting, unit, context FROM pg_settings
 WHERE name IN ('omsupply_backup.max_backup_age', 'omsupply_backup.wal_full_action', 'omsupply_backup.wal_limit', 'omsupply_backup.min_free') ORDER BY name;
ALTER SYSTEM SET omsupply_backup.wal_full_action = 'ignore';
ALTER SYSTEM SET omsupply_backup.wal_limit = -1;
ALTER SYSTEM SET omsupply_backup.min_free = -1;

-- in a schema of its own
DROP EXTENSION omsupply_backup;
CREATE SCHEMA somewhere;
CREATE EXTENSION omsupply_backup SCHEMA somewhere;
SELECT state FROM somewhere.backup_status;
SELECT count(*) > 5 AS checks FROM somewhere.backup_check('0');
DROP EXTENSION omsupply_backup;
DROP SCHEMA somewhere;
