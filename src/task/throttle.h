/*
 * throttle.h: a limit in bytes per second, shared by threads.
 */
#ifndef OMB_TASK_THROTTLE_H
#define OMB_TASK_THROTTLE_H

#include <stdint.h>

typedef struct omb_throttle omb_throttle;

/* 0 bytes per second means no limit. */
extern omb_throttle *omb_throttle_new(uint64_t bytes_per_second);
/* Return when bytes more may be read. */
extern void omb_throttle_wait(omb_throttle *throttle, uint64_t bytes);
extern void omb_throttle_free(omb_throttle *throttle);

#endif
