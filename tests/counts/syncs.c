/*
 * Counts how often a process waits for its disk, and has it wait for nothing.
 *
 * A sync is a call of fdatasync(), fsync() or msync(), or a write through a descriptor that was opened with O_DSYNC or
 * O_SYNC, as LMDB writes its last page. The process asks for the count by `eventlog_sync_count()`. Loaded before the C
 * library by LD_PRELOAD; for counting alone: what is written this way survives no power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 4096 };

static long count;
static char is_synced[MOST_DESCRIPTORS];

/* The function of that name that we stand before. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int waited(void) {
    __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    return 0;
}

long eventlog_sync_count(void) { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }

int fdatasync(int descriptor) {
    (void)descriptor;
    return waited();
}

int fsync(int descriptor) {
    (void)descriptor;
    return waited();
}

int msync(void *address, size_t length, int flags) {
    (void)address, (void)length, (void)flags;
    return waited();
}

static int opened(int descriptor, int flags) {
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS) is_synced[descriptor] = (flags & O_DSYNC) != 0;
    return descriptor;
}

/* O_SYNC is O_DSYNC and one bit more. */
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;                                 \
        va_end(rest);                                                                                                  \
        return opened(NEXT(name)(path, flags & ~O_SYNC, mode), flags);                                                 \
    }

OPEN(open)
OPEN(open64)

#define WRITE(name, offset_type)                                                                                       \
    ssize_t name(int descriptor, const void *bytes, size_t length, offset_type place) {                                \
        if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS && is_synced[descriptor]) waited();                       \
        return NEXT(name)(descriptor, bytes, length, place);                                                           \
    }

WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)
