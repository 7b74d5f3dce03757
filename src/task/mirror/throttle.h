/*
 * throttle.h: a limit in bytes per second, shared by threads.
 */
#ifndef OMB_TASK_THROTTLE_H
#define OMB_TASK_THROTTLE_H

#include <stdint.h>

/* As a rate: nothing may pass until the rate is another one. */
#define OMB_THROTTLE_STOP UINT64_MAX

typedef struct omb_throttle omb_throttle;

/* 0 bytes per second means no limit. */
extern omb_throttle *omb_throttle_new(uint64_t bytes_per_second);
/* Return when bytes more may be read. */
extern void omb_throttle_wait(omb_throttle *throttle, uint64_t bytes);
/* Change the rate, also for those who wait now. */
extern void omb_throttle_set(omb_throttle *throttle,
							 uint64_t bytes_per_second);
extern uint64_t omb_throttle_rate(omb_throttle *throttle);
/* Bytes that have passed so far. */
extern uint64_t omb_throttle_passed(omb_throttle *throttle);
extern void omb_throttle_free(omb_throttle *throttle);

#endif
