-- schedules: what is refused, when they run, and what a dump holds
SET timezone = 'UTC';
CREATE EXTENSION omsupply_backup;
SELECT name, job, cron, timezone, is_enabled, catch_up, label, options FROM backup_schedule ORDER BY name;
SELECT version, result, installed_at > now() - interval '1 hour' AS just_now FROM backup_extension_version ORDER BY version;

-- mistakes, with their position
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '61 * * * *');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '0 1 * *');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '0 1 * * mon,foo');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '*/90 * * * *');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '@reboot');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', '');
UPDATE backup_schedule SET cron = '0 25 * * *' WHERE name = 'nightly';
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'restore', '@daily');
INSERT INTO backup_schedule (name, job, cron, timezone) VALUES ('x', 'backup', '@daily', 'Mars/Phobos');
INSERT INTO backup_schedule (name, job, cron, timezone) VALUES ('x', 'backup', '@daily', '');
INSERT INTO backup_schedule (name, job, cron, label) VALUES ('x', 'backup', '@daily', E'two\nlines');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'backup', '@daily', '{"sample": 5}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"simple": 5}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"sample": 0}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"sample": 101}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"sample": "all"}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"max_time": -1}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '{"max_time": null}');
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'verify', '@daily', '[]');
INSERT INTO backup_schedule (name, job, cron) VALUES ('', 'backup', '@daily');
INSERT INTO backup_schedule (name, job, cron) VALUES (repeat('x', 101), 'backup', '@daily');
INSERT INTO backup_schedule (name, job, cron) VALUES (NULL, 'backup', '@daily');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', NULL, '@daily');
INSERT INTO backup_schedule (name, job, cron) VALUES ('x', 'backup', NULL);
INSERT INTO backup_schedule (name, job, cron, timezone) VALUES ('x', 'backup', '@daily', NULL);
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('x', 'backup', '@daily', NULL);
SELECT count(*) FROM backup_schedule;

-- a row of the same name takes the place of the old one
INSERT INTO backup_schedule (name, job, cron) VALUES ('nightly', 'full', '@weekly');
SELECT name, job, cron, is_enabled, label FROM backup_schedule WHERE name = 'nightly';
INSERT INTO backup_schedule (name, job, cron, options) VALUES ('much', 'verify', '0 5 1 * *', '{"sample": 12.5, "max_time": "3600"}');
DELETE FROM backup_schedule WHERE name = 'much';

-- the next runs
SELECT count(*) FROM backup_schedule_next('nightly');
SELECT count(*), bool_and(extract(dow FROM t) = 0 AND t::time = '00:00') AS sundays,
       max(t) - min(t) AS span, min(t) > now() AS later FROM backup_schedule_next('nightly', 10) AS t;
UPDATE backup_schedule SET cron = '30 2 * * *', timezone = 'Europe/Berlin' WHERE name = 'nightly';
SELECT count(*), count(DISTINCT (t AT TIME ZONE 'Europe/Berlin')::date) AS days,
       count(*) FILTER (WHERE (t AT TIME ZONE 'Europe/Berlin')::time <> '02:30') BETWEEN 1 AND 2 AS after_a_gap
  FROM backup_schedule_next('nightly', 400) AS t;
UPDATE backup_schedule SET cron = '*/30 * * * *' WHERE name = 'nightly';
SELECT count(DISTINCT t - lag) AS pauses, max(t - lag) AS pause
  FROM (SELECT t, lag(t) OVER (ORDER BY t) FROM backup_schedule_next('nightly', 1000) AS t) AS n WHERE lag IS NOT NULL;
UPDATE backup_schedule SET cron = '0 0 30 2 *' WHERE name = 'nightly';
SELECT count(*) FROM backup_schedule_next('nightly');
SELECT * FROM backup_schedule_next('nobody');
SELECT * FROM backup_schedule_next('nightly', 0);
SELECT * FROM backup_schedule_next('nightly', -1);
SELECT * FROM backup_schedule_next('nightly', 1001);
SELECT count(*) FROM backup_schedule_next(NULL);

-- triggers are for triggers
SELECT backup_schedule_check();
SELECT backup_schedule_changed();

-- who may do what
CREATE ROLE regress_omb_monitor IN ROLE pg_monitor;
SET ROLE regress_omb_monitor;
SELECT count(*) FROM backup_schedule;
SELECT count(*) FROM backup_history;
SELECT count(*) FROM backup_schedule_next('check', 3);
UPDATE backup_schedule SET is_enabled = true;
DELETE FROM backup_history;
RESET ROLE;
DROP ROLE regress_omb_monitor;
CREATE ROLE regress_omb_nobody;
SET ROLE regress_omb_nobody;
SELECT count(*) FROM backup_schedule;
SELECT count(*) FROM backup_history;
SELECT * FROM backup_schedule_next('check', 3);
RESET ROLE;
DROP ROLE regress_omb_nobody;

-- in another schema, with a search_path that has traps in it
CREATE SCHEMA "a Schema";
ALTER EXTENSION omsupply_backup SET SCHEMA "a Schema";
SELECT count(*) FROM "a Schema".backup_schedule_next('check', 3);
INSERT INTO "a Schema".backup_schedule (name, job, cron) VALUES ('nightly', 'backup', '0 5 * * *');
SELECT cron FROM "a Schema".backup_schedule WHERE name = 'nightly';
DROP EXTENSION omsupply_backup;
DROP SCHEMA "a Schema";

-- an older version does not act
CREATE EXTENSION omsupply_backup VERSION '1.0';
SELECT backup_now();
SELECT * FROM backup_expire();
SELECT backup_pin('x');
ALTER EXTENSION omsupply_backup UPDATE;
SELECT backup_now();
SELECT count(*) FROM backup_schedule;
DROP EXTENSION omsupply_backup;
