/* omsupply_backup--1.1--1.2.sql: what version 1.2 adds to version 1.1 */

\echo Use "ALTER EXTENSION omsupply_backup UPDATE" to load this file. \quit

INSERT INTO backup_extension_version (version, result) VALUES ('1.2', 'done');

-- targets

-- retention

-- files

-- marks, watermarks

-- realignment
