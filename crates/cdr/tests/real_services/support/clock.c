/* A time of day that can be set, for one process that loads this before its libraries (LD_PRELOAD).
 *
 * The file CLOCK_OFFSET holds, as 8 bytes, how many seconds to add to the machine's time. As with a
 * clock that is really set, waits until a time of day end by the new time, also those that had begun
 * before; and the clock that measures how long something took (CLOCK_MONOTONIC) is not touched.
 *
 * libfaketime does not do: it knows nothing of cnd_timedwait, by which librdkafka waits. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL
/* How soon a wait learns that the clock was set. */
#define SLICE_NS 10000000LL

static volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        abort();
    }
    offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME) {
        time->tv_sec += *offset;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, time) ? base : 0;
}

static int64_t nanoseconds(const struct timespec *time) {
    return time->tv_sec * SECOND_NS + time->tv_nsec;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict end) {
    for (;;) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = nanoseconds(end) - nanoseconds(&now);
        if (left <= 0) {
            return thrd_timedout;
        }
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
        int64_t slice_end = nanoseconds(&now) + (left < SLICE_NS ? left : SLICE_NS);
        struct timespec slice = {slice_end / SECOND_NS, slice_end % SECOND_NS};
        /* In glibc the types of both interfaces are the same. */
        int outcome = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, &slice);
        if (outcome != ETIMEDOUT) {
            return outcome ? thrd_error : thrd_success;
        }
    }
}
