/*
 * lsn.h: log sequence numbers as text, "1A/2B3C4D5E".
 */
#ifndef OMB_PGFMT_LSN_H
#define OMB_PGFMT_LSN_H

#include <stdbool.h>
#include <stdint.h>

#define OMB_LSN_TEXT 20

extern bool omb_lsn_parse(const char *text, uint64_t *lsn);
/* Returns out. */
extern char *omb_lsn_format(uint64_t lsn, char out[OMB_LSN_TEXT]);

#endif
