/* omsupply_backup--1.1--1.2.sql: what version 1.2 adds to version 1.1 */

\echo Use "ALTER EXTENSION omsupply_backup UPDATE" to load this file. \quit

INSERT INTO backup_extension_version (version, result) VALUES ('1.2', 'done');

-- targets

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
