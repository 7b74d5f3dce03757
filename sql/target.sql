-- targets: what may be in the table, and what is shown; no server has a
-- repository here
CREATE EXTENSION omsupply_backup;
SELECT * FROM backup_target_status;
SELECT extconfig::regclass[] FROM pg_extension WHERE extname = 'omsupply_backup';

-- URLs
INSERT INTO backup_target (name, url) VALUES ('x', '/mnt/copy');
INSERT INTO backup_target (name, url) VALUES ('x', 'ftp://host/x');
INSERT INTO backup_target (name, url) VALUES ('x', 's3:///prefix');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://id:hunter2@bucket/x');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://bucket/x?secret_access_key=hunter2');
INSERT INTO backup_target (name, url) VALUES ('x', 'azblob://account/container?sv=1&sig=hunter2');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://bucket/%zz');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://bucket/x?region');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://bucket/x#y');
INSERT INTO backup_target (name, url) VALUES ('x', 'file://host/x');
INSERT INTO backup_target (name, url) VALUES ('x', 's3://' || repeat('x', 1000));
INSERT INTO backup_target (name, url) VALUES ('x', NULL);
-- the text of the error depends on where the data directory is
DO $$BEGIN
	EXECUTE format('INSERT INTO backup_target (name, url) VALUES (''x'', %L)', 'file://' || current_setting('data_directory') || '/copy');
EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE 'refused';
END$$;

-- names
INSERT INTO backup_target (name, url) VALUES ('', 's3://bucket/x');
INSERT INTO backup_target (name, url) VALUES ('local', 's3://bucket/x');
INSERT INTO backup_target (name, url) VALUES (repeat('x', 61), 's3://bucket/x');

-- credentials
INSERT INTO backup_target (name, url, credentials) VALUES ('x', 's3://bucket/x', 's3.keys');
DO $$BEGIN
	EXECUTE format('INSERT INTO backup_target (name, url, credentials) VALUES (''x'', ''s3://bucket/x'', %L)', current_setting('data_directory') || '/s3.keys');
EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE 'refused';
END$$;

-- limits, windows and options
INSERT INTO backup_target (name, url, upload_limit) VALUES ('x', 's3://bucket/x', -1);
INSERT INTO backup_target (name, url, upload_limit) VALUES ('x', 's3://bucket/x', 0);
INSERT INTO backup_target (name, url, "window") VALUES ('x', 's3://bucket/x', 'always');
INSERT INTO backup_target (name, url, "window") VALUES ('x', 's3://bucket/x', 'mon-fri 08:00-18:00 fast');
INSERT INTO backup_target (name, url, "window") VALUES ('x', 's3://bucket/x', '08:00-18:00 200kB; 18:00-25:00 5MB');
INSERT INTO backup_target (name, url, "window") VALUES ('x', 's3://bucket/x', '');
INSERT INTO backup_target (name, url, options) VALUES ('x', 's3://bucket/x', '[]');
INSERT INTO backup_target (name, url, options) VALUES ('x', 's3://bucket/x', '{"region": "x"}');
INSERT INTO backup_target (name, url, options) VALUES ('x', 's3://bucket/x', '{"transfers": 0}');
INSERT INTO backup_target (name, url, options) VALUES ('x', 's3://bucket/x', '{"transfers": null}');
SELECT count(*) FROM backup_target;

-- what is fine; not one of them is at work, as they are disabled
INSERT INTO backup_target (name, url, credentials, is_enabled, upload_limit, "window", options) VALUES
	('bucket', 's3://bucket/prefix?endpoint=https%3A%2F%2Fhost%3A9000&style=path', '/etc/omsupply/s3.keys', false, 100000,
	 'mon-fri 08:00-18:00 200kB; 22:00-06:00 5MB; sat,sun 00:00-24:00 none; 12:00-13:00 stop', '{"transfers": 8}'),
	('disk', 'file:///mnt/disk%202/copy', NULL, false, NULL, NULL, '{}');
INSERT INTO backup_target (name, url, is_enabled) VALUES ('disk', 'file:///mnt/disk3', false);
INSERT INTO backup_target (name, url, is_enabled) VALUES ('again', 'file:///mnt/disk%202/copy', false);
UPDATE backup_target SET "window" = 'x' WHERE name = 'bucket';
SELECT name, url, credentials, is_enabled, upload_limit, "window", options FROM backup_target ORDER BY name;
SELECT name, state, last_error, objects_waiting FROM backup_target_status ORDER BY name;

-- eight at most; without a repository they wait for one
INSERT INTO backup_target (name, url) SELECT 'n' || n, 'file:///nonesuch/' || n FROM generate_series(1, 9) n;
INSERT INTO backup_target (name, url) SELECT 'n' || n, 'file:///nonesuch/' || n FROM generate_series(1, 8) n;
UPDATE backup_target SET is_enabled = true;
DELETE FROM backup_target WHERE name LIKE 'n%';
INSERT INTO backup_target (name, url) VALUES ('x', 'file:///nonesuch/x');
SELECT name, state, last_error FROM backup_target_status WHERE name = 'x' AND state <> 'waiting' AND last_error <> '"omsupply_backup.repository" is not set';
DELETE FROM backup_target WHERE name = 'x';

-- functions
SELECT * FROM backup_target_check('nonesuch');
SELECT * FROM backup_target_check('disk');
SELECT backup_target_row_check();
SELECT backup_target_changed();

-- who may see what
CREATE ROLE regress_omb_nobody;
CREATE ROLE regress_omb_monitor IN ROLE pg_monitor;
SET ROLE regress_omb_nobody;
SELECT * FROM backup_target;
SELECT * FROM backup_target_status;
SELECT * FROM backup_target_check('disk');
SET ROLE regress_omb_monitor;
SELECT name, state FROM backup_target_status ORDER BY name;
SELECT count(*) FROM backup_target;
UPDATE backup_target SET url = 's3://other/x';
SELECT * FROM backup_target_check('disk');
RESET ROLE;
DROP ROLE regress_omb_nobody;
DROP ROLE regress_omb_monitor;
DROP EXTENSION omsupply_backup;
