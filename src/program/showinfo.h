/*
 * showinfo.h: the facts of a backup as JSON.
 */
#ifndef OMB_PROGRAM_SHOWINFO_H
#define OMB_PROGRAM_SHOWINFO_H

#include "base/json.h"
#include "repo/manifest.h"
#include "repo/pin.h"

/* Members of an object that is open. */
extern void omb_show_info_json(omb_json *json, const omb_backup_info *info);
extern void omb_show_pin_json(omb_json *json, const omb_pin *pin);

#endif
