/*
 * epoch.h: PostgreSQL's times begin in 2000, those of the protocol in 1970.
 */
#ifndef OMB_BACKEND_EPOCH_H
#define OMB_BACKEND_EPOCH_H

/* Microseconds between the two. */
#define OMB_EPOCH_DIFFERENCE INT64CONST(946684800000000)

#endif
