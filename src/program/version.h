/*
 * version.h: the version of the program; the same as the extension's.
 */
#ifndef OMB_PROGRAM_VERSION_H
#define OMB_PROGRAM_VERSION_H

#define OMB_VERSION "1.0"

#endif
