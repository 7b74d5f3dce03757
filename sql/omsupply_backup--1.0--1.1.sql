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
