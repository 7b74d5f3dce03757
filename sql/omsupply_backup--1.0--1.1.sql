/* omsupply_backup--1.0--1.1.sql: what version 1.1 adds to version 1.0 */

\echo Use "ALTER EXTENSION omsupply_backup UPDATE" to load this file. \quit

-- schedules, history, versions

CREATE TABLE backup_extension_version (
	version pg_catalog.text PRIMARY KEY,
	installed_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	result pg_catalog.text NOT NULL
);
COMMENT ON TABLE backup_extension_version
IS 'which scripts of the extension ran in this database, and when';
INSERT INTO backup_extension_version (version, result) VALUES ('1.1', 'done');

CREATE TABLE backup_schedule (
	name pg_catalog.text PRIMARY KEY
		CHECK (pg_catalog.length(name) OPERATOR(pg_catalog.>) 0
			   AND pg_catalog.octet_length(name) OPERATOR(pg_catalog.<=) 100),
	job pg_catalog.text NOT NULL,
	cron pg_catalog.text NOT NULL,
	timezone pg_catalog.text NOT NULL DEFAULT pg_catalog.current_setting('TimeZone'),
	is_enabled pg_catalog.bool NOT NULL DEFAULT false,
	catch_up pg_catalog.bool NOT NULL DEFAULT true,
	label pg_catalog.text,
	options pg_catalog.jsonb NOT NULL DEFAULT '{}'
		CHECK (pg_catalog.jsonb_typeof(options) OPERATOR(pg_catalog.=) 'object')
);
COMMENT ON TABLE backup_schedule
IS 'which job runs when; a change takes effect when it is committed';

-- Refuses mistakes. A row that is inserted takes the place of an old one, as
-- a dump has the rows that CREATE EXTENSION makes, too.
CREATE FUNCTION backup_schedule_check()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_schedule_check'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_schedule_check()
IS 'trigger: refuses mistakes in backup_schedule; a new row takes the place of the old one of that name';
CREATE TRIGGER backup_schedule_check
BEFORE INSERT OR UPDATE ON backup_schedule
FOR EACH ROW EXECUTE FUNCTION backup_schedule_check();

CREATE FUNCTION backup_schedule_changed()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'omb_schedule_changed'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION backup_schedule_changed()
IS 'trigger: makes a change of backup_schedule take effect';
CREATE TRIGGER backup_schedule_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backup_schedule
FOR EACH STATEMENT EXECUTE FUNCTION backup_schedule_changed();

INSERT INTO backup_schedule (name, job, cron, label, options) VALUES
	('nightly', 'backup', '30 1 * * *', 'nightly', '{}'),
	('weekly full', 'full', '30 2 * * sun', 'weekly full', '{}'),
	('expire', 'expire', '0 4 * * *', NULL, '{}'),
	('verify', 'verify', '0 5 * * sat', NULL, '{"sample": 5}'),
	('check', 'check', '0 * * * *', NULL, '{}');
SELECT pg_catalog.pg_extension_config_dump('backup_schedule', '');

CREATE FUNCTION backup_schedule_next(name pg_catalog.text, n pg_catalog.int4 DEFAULT 5)
RETURNS SETOF pg_catalog.timestamptz
AS 'MODULE_PATHNAME', 'omb_backup_schedule_next'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_schedule_next(pg_catalog.text, pg_catalog.int4)
IS 'the next n times of a schedule, enabled or not';

-- where the scheduler stands; not for a dump
CREATE TABLE backup_schedule_state (
	name pg_catalog.text PRIMARY KEY,
	definition pg_catalog.text NOT NULL,
	handled_until pg_catalog.timestamptz NOT NULL,
	is_running pg_catalog.bool NOT NULL,
	started_at pg_catalog.timestamptz,
	failures pg_catalog.int4 NOT NULL,
	retry_at pg_catalog.timestamptz,
	next_run pg_catalog.timestamptz
);
COMMENT ON TABLE backup_schedule_state
IS 'where each enabled schedule stands; kept by the scheduler';

CREATE TABLE backup_history (
	run_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job pg_catalog.text NOT NULL,
	cause pg_catalog.text NOT NULL,
	schedule pg_catalog.text,
	requested_by pg_catalog.text,
	label pg_catalog.text,
	kind pg_catalog.text,
	backup_id pg_catalog.text,
	started_at pg_catalog.timestamptz NOT NULL,
	ended_at pg_catalog.timestamptz NOT NULL,
	state pg_catalog.text NOT NULL,
	bytes_read pg_catalog.int8,
	bytes_stored pg_catalog.int8,
	bytes_reused pg_catalog.int8,
	files pg_catalog.int8,
	damaged_pages pg_catalog.int8,
	message pg_catalog.text,
	detail pg_catalog.text,
	hint pg_catalog.text
);
CREATE INDEX backup_history_ended_at ON backup_history (ended_at);
COMMENT ON TABLE backup_history
IS 'every job that ended in the last 400 days';

REVOKE ALL ON backup_extension_version, backup_schedule, backup_schedule_state, backup_history FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_schedule_check() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_schedule_changed() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_schedule_next(pg_catalog.text, pg_catalog.int4) FROM PUBLIC;
GRANT SELECT ON backup_extension_version, backup_schedule, backup_schedule_state, backup_history TO pg_monitor;
GRANT EXECUTE ON FUNCTION backup_schedule_next(pg_catalog.text, pg_catalog.int4) TO pg_monitor;

-- status, health

CREATE FUNCTION backup_status_row(OUT state pg_catalog.text,
								  OUT reasons pg_catalog.text[],
								  OUT last_backup_id pg_catalog.text,
								  OUT last_backup_at pg_catalog.timestamptz,
								  OUT last_backup_age pg_catalog.interval,
								  OUT recoverable_from pg_catalog.timestamptz,
								  OUT recoverable_to pg_catalog.timestamptz,
								  OUT data_at_risk pg_catalog.interval,
								  OUT wal_waiting_files pg_catalog.int8,
								  OUT wal_waiting_bytes pg_catalog.int8,
								  OUT wal_oldest_waiting_at pg_catalog.timestamptz,
								  OUT repository_bytes pg_catalog.int8,
								  OUT repository_free_bytes pg_catalog.int8,
								  OUT growth_bytes_per_day pg_catalog.int8,
								  OUT days_until_full pg_catalog.float8,
								  OUT surveyed_at pg_catalog.timestamptz)
RETURNS pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_status'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION backup_status_row()
IS 'what the view backup_status shows';

CREATE VIEW backup_status AS
SELECT s.state, s.reasons, s.last_backup_id, s.last_backup_at,
	   s.last_backup_age, s.recoverable_from, s.recoverable_to,
	   s.data_at_risk, s.wal_waiting_files, s.wal_waiting_bytes,
	   s.wal_oldest_waiting_at, s.repository_bytes, s.repository_free_bytes,
	   s.growth_bytes_per_day, s.days_until_full,
	   (SELECT pg_catalog.min(t.next_run) FROM backup_schedule_state AS t) AS next_run_at,
	   s.surveyed_at
  FROM backup_status_row() AS s;
COMMENT ON VIEW backup_status
IS 'are we safe? state ok, degraded, failing, unconfigured or fenced, with the reasons';

CREATE FUNCTION backup_wal_status_row(OUT archived_wal pg_catalog.text,
									  OUT archived_at pg_catalog.timestamptz,
									  OUT failing_since pg_catalog.timestamptz,
									  OUT failures pg_catalog.int8,
									  OUT failed_wal pg_catalog.text,
									  OUT message pg_catalog.text,
									  OUT hint pg_catalog.text,
									  OUT waiting_files pg_catalog.int8,
									  OUT waiting_bytes pg_catalog.int8,
									  OUT oldest_waiting_wal pg_catalog.text,
									  OUT oldest_waiting_at pg_catalog.timestamptz,
									  OUT current_wal pg_catalog.text,
									  OUT current_lsn pg_catalog.pg_lsn,
									  OUT lag_bytes pg_catalog.int8,
									  OUT gaps pg_catalog.int8,
									  OUT gap_first pg_catalog.text,
									  OUT gap_last pg_catalog.text,
									  OUT given_up_files pg_catalog.int8)
RETURNS pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_wal_status'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION backup_wal_status_row()
IS 'what the view backup_wal_status shows';

CREATE VIEW backup_wal_status AS
SELECT w.archived_wal, w.archived_at, w.failing_since, w.failures,
	   w.failed_wal, w.message, w.hint, w.waiting_files, w.waiting_bytes,
	   w.oldest_waiting_wal, w.oldest_waiting_at, w.current_wal,
	   w.current_lsn, w.lag_bytes, w.gaps, w.gap_first, w.gap_last,
	   w.given_up_files
  FROM backup_wal_status_row() AS w;
COMMENT ON VIEW backup_wal_status
IS 'archiving of WAL: what is archived, what waits, and why it fails';

CREATE FUNCTION backup_check(timeout pg_catalog.interval DEFAULT '30 seconds',
							 OUT name pg_catalog.text,
							 OUT result pg_catalog.text,
							 OUT found pg_catalog.text,
							 OUT hint pg_catalog.text)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_check'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_check(pg_catalog.interval)
IS 'try the whole set-up: a row a check with ok, warning or error, what was found and what to do';

CREATE FUNCTION backup_confirm_recovery_code(code pg_catalog.text)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'omb_backup_confirm_recovery_code'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_confirm_recovery_code(pg_catalog.text)
IS 'prove that the recovery code was written down; better: omsupply_backup key --confirm, which no log shows';

CREATE FUNCTION backup_before_upgrade(label pg_catalog.text,
									  max_age pg_catalog.interval DEFAULT '1 day',
									  OUT lsn pg_catalog.pg_lsn,
									  OUT name pg_catalog.text,
									  OUT backup_started pg_catalog.bool)
RETURNS pg_catalog.record
AS 'MODULE_PATHNAME', 'omb_backup_before_upgrade'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION backup_before_upgrade(pg_catalog.text, pg_catalog.interval)
IS 'name a restore point, and start a backup when the last one is older than max_age; for applications before they migrate';

REVOKE ALL ON FUNCTION backup_status_row() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_wal_status_row() FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_check(pg_catalog.interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_confirm_recovery_code(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION backup_before_upgrade(pg_catalog.text, pg_catalog.interval) FROM PUBLIC;
REVOKE ALL ON backup_status FROM PUBLIC;
REVOKE ALL ON backup_wal_status FROM PUBLIC;
GRANT SELECT ON backup_status TO pg_monitor;
GRANT SELECT ON backup_wal_status TO pg_monitor;
GRANT EXECUTE ON FUNCTION backup_status_row() TO pg_monitor;
GRANT EXECUTE ON FUNCTION backup_wal_status_row() TO pg_monitor;
