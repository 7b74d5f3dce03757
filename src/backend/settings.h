/*
 * settings.h: the settings of the server part (postgresql.conf).
 */
#ifndef OMB_BACKEND_SETTINGS_H
#define OMB_BACKEND_SETTINGS_H

extern char *omb_repository;
extern char *omb_key_file;
extern char *omb_compression;
extern int omb_max_read_rate;	/* kB/s, 0 = no limit */
extern int omb_archive_timeout; /* seconds */
extern int omb_max_backup_age;
extern int omb_max_target_lag;	/* seconds, 0 = any age is fine */
extern int omb_wal_full_action; /* OmbWalFullAction */
extern int omb_wal_limit;		/* MB, 0 = none */
extern int omb_min_free;		/* MB, 0 = none */
extern char *omb_database;
extern int omb_debug_clock_offset; /* seconds */

extern void omb_settings_define(void);

/* Threads to use: the setting, or one per core, at most 8. */
extern int omb_settings_jobs(void);

#endif
