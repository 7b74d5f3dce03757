-- sets of the application's files: what is refused, and what is there
CREATE EXTENSION omsupply_backup;
\set VERBOSITY terse
INSERT INTO backup_file_set (name, path) VALUES ('app', '/srv/app');
SELECT * FROM backup_file_set;
INSERT INTO backup_file_set (name, path) VALUES ('a/b', '/srv');
INSERT INTO backup_file_set (name, path) VALUES ('a=b', '/srv');
INSERT INTO backup_file_set (name, path) VALUES ('.', '/srv');
INSERT INTO backup_file_set (name, path) VALUES (repeat('x', 64), '/srv');
INSERT INTO backup_file_set (name, path) VALUES ('b', 'srv');
INSERT INTO backup_file_set (name, path) VALUES ('b', '/srv' || repeat('/x', 600));
INSERT INTO backup_file_set (name, path) VALUES ('b', E'/srv\n');
INSERT INTO backup_file_set (name, path, exclude) VALUES ('b', '/srv', '{""}');
INSERT INTO backup_file_set (name, path, exclude) VALUES ('b', '/srv', '{/log}');
INSERT INTO backup_file_set (name, path, exclude) VALUES ('b', '/srv', ARRAY[repeat('x', 256)]);
INSERT INTO backup_file_set (name, path, exclude) VALUES ('b', '/srv', '{NULL}');
INSERT INTO backup_file_set (name, path, exclude) SELECT 'b', '/srv', array_agg(repeat('x', 200)) FROM generate_series(1, 30);
INSERT INTO backup_file_set (name, path, exclude) VALUES ('b', '/srv', NULL);
INSERT INTO backup_file_set (name, path) VALUES ('app', '/srv');
INSERT INTO backup_file_set (name, path) SELECT 's' || n, '/srv' FROM generate_series(1, 16) n;
INSERT INTO backup_file_set (name, path, is_enabled) SELECT 's' || n, '/srv', false FROM generate_series(1, 20) n;
UPDATE backup_file_set SET is_enabled = true;
UPDATE backup_file_set SET path = 'x' WHERE name = 'app';
SELECT backup_file_set_check();
SELECT has_table_privilege('pg_monitor', 'backup_file_set', 'SELECT') AS pg_monitor,
       has_table_privilege('public', 'backup_file_set', 'SELECT') AS public;
SELECT backup_files();
INSERT INTO backup_schedule (name, job, cron) VALUES ('files', 'files', '*/15 * * * *');
SELECT name, job FROM backup_schedule WHERE name = 'files';
DROP EXTENSION omsupply_backup;
