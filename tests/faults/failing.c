/*
 * A library for LD_PRELOAD that makes the N-th call of some kinds fail.
 *
 * Calls on files below one directory are counted, kind by kind, from the moment in which a plan is armed. When the
 * count of the plan's kinds reaches its N, that call fails, alone or with all of these kinds that follow. How it fails:
 *
 *   before   nothing is done, and the call returns the error
 *   short    half of it is written and told (writes alone; others fail as by "before")
 *   late     all of it is done, and the call returns the error all the same
 *
 * A plan comes from the environment, as the process begins, or from failing_arm(), as often as one likes:
 *
 *   FAILING_CALLS      kinds, joined by "+": pwrite+writev+fdatasync
 *   FAILING_NTH        which of them fails first, from 1; 0 only counts
 *   FAILING_ERRNO      the number of the error
 *   FAILING_FORM       before, short or late
 *   FAILING_PERSISTS   1 has all that follow fail too
 *   FAILING_DIRECTORY  what the path of the file begins with
 *   FAILING_SUFFIX     what it ends with; empty means any
 *
 * FAILING_UNSYNCED=1 leaves out the syncs themselves, which are slow: they are counted, and fail as planned.
 * Knows nothing of eventlog or of LMDB.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    PWRITE, WRITEV, WRITE, FDATASYNC, FSYNC, MSYNC, FTRUNCATE, FALLOCATE,
    OPEN, MMAP, MKDIR, MKFIFO, RENAME, FLOCK, LOCK, UTIME, KINDS
};
static const char *const names[KINDS] = {
    "pwrite", "writev", "write", "fdatasync", "fsync", "msync", "ftruncate", "fallocate",
    "open", "mmap", "mkdir", "mkfifo", "rename", "flock", "lock", "utime"
};
enum form { BEFORE, SHORT, LATE };
enum verdict { PASS, FAIL };

static struct {
    unsigned kinds;
    long nth;
    int number;
    enum form form;
    int persists;
    char directory[PATH_MAX];
    char suffix[NAME_MAX + 1];
} plan;
static volatile int is_armed;
static int is_unsynced;
static long counts[KINDS], seen, failed;
static char first_failure[PATH_MAX + 64];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "failing.c: no %s\n", name);
        abort();
    }
    return found;
}
#define REAL(name) ({ static __typeof__(&name) f; if (f == NULL) f = (__typeof__(&name))real(#name); f; })

static int is_ours(const char *path)
{
    size_t length = strlen(path), prefix = strlen(plan.directory), suffix = strlen(plan.suffix);
    return prefix > 0 && strncmp(path, plan.directory, prefix) == 0 && length >= suffix
        && strcmp(path + length - suffix, plan.suffix) == 0;
}

static enum verdict judged(enum kind kind, const char *path)
{
    enum verdict verdict = PASS;
    if (!is_armed || path == NULL || !is_ours(path))
        return PASS;
    pthread_mutex_lock(&guard);
    if (is_armed) {
        counts[kind]++;
        if (plan.kinds & (1u << kind)) {
            seen++;
            if (plan.nth > 0 && (seen == plan.nth || (plan.persists && seen > plan.nth))) {
                if (failed++ == 0)
                    snprintf(first_failure, sizeof first_failure, "%s %s", names[kind], path);
                verdict = FAIL;
            }
        }
    }
    pthread_mutex_unlock(&guard);
    return verdict;
}

static enum verdict judged_file(enum kind kind, int descriptor)
{
    char link[64], path[PATH_MAX];
    int before = errno;
    if (!is_armed || descriptor < 0)
        return PASS;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return PASS;
    path[length] = 0;
    char *deleted = strstr(path, " (deleted)");
    if (deleted != NULL)
        *deleted = 0;
    return judged(kind, path);
}

/* A file named from a directory is judged by the directory. */
static enum verdict judged_at(enum kind kind, int place, const char *path)
{
    return path[0] == '/' || place == AT_FDCWD ? judged(kind, path) : judged_file(kind, place);
}

static int refused(void)
{
    errno = plan.number;
    return -1;
}

/* What is put in place of a call: `done` does it, and `half` does half of it. */
#define FAILING(verdict, done, half)            \
    do {                                        \
        if ((verdict) == PASS)                  \
            return done;                        \
        if (plan.form == SHORT)                 \
            return half;                        \
        if (plan.form == LATE)                  \
            (void)!(done);                      \
        return refused();                       \
    } while (0)

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    FAILING(judged_file(PWRITE, fd), REAL(pwrite)(fd, data, size, at), REAL(pwrite)(fd, data, size / 2, at));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    FAILING(judged_file(PWRITE, fd), REAL(pwrite64)(fd, data, size, at), REAL(pwrite64)(fd, data, size / 2, at));
}

ssize_t write(int fd, const void *data, size_t size)
{
    FAILING(judged_file(WRITE, fd), REAL(write)(fd, data, size), REAL(write)(fd, data, size / 2));
}

static ssize_t half_of_writev(int fd, const struct iovec *parts, int count)
{
    if (count > 1)
        return REAL(writev)(fd, parts, count / 2);
    return REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    FAILING(judged_file(WRITEV, fd), REAL(writev)(fd, parts, count), half_of_writev(fd, parts, count));
}

int fdatasync(int fd)
{
    FAILING(judged_file(FDATASYNC, fd), is_unsynced ? 0 : REAL(fdatasync)(fd), refused());
}

int fsync(int fd)
{
    FAILING(judged_file(FSYNC, fd), is_unsynced ? 0 : REAL(fsync)(fd), refused());
}

int msync(void *at, size_t size, int flags)
{
    /* A map has no name here: all of the process count. */
    FAILING(judged(MSYNC, plan.directory), is_unsynced ? 0 : REAL(msync)(at, size, flags), refused());
}

int ftruncate(int fd, off_t size)
{
    FAILING(judged_file(FTRUNCATE, fd), REAL(ftruncate)(fd, size), refused());
}

int ftruncate64(int fd, off64_t size)
{
    FAILING(judged_file(FTRUNCATE, fd), REAL(ftruncate64)(fd, size), refused());
}

/* These tell the error by what they return. */
int posix_fallocate(int fd, off_t at, off_t size)
{
    return judged_file(FALLOCATE, fd) == PASS ? REAL(posix_fallocate)(fd, at, size) : plan.number;
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return judged_file(FALLOCATE, fd) == PASS ? REAL(posix_fallocate64)(fd, at, size) : plan.number;
}

static int without_sync(int flags)
{
    return is_unsynced ? flags & ~(O_SYNC | O_DSYNC) : flags;
}

#define OPENING(name)                                                                           \
    int name(const char *path, int flags, ...)                                                  \
    {                                                                                           \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                 \
        va_end(rest);                                                                           \
        if (judged(OPEN, path) == FAIL)                                                         \
            return refused();                                                                   \
        return REAL(name)(path, without_sync(flags), mode);                                     \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                                                        \
    int name(int place, const char *path, int flags, ...)                                       \
    {                                                                                           \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                 \
        va_end(rest);                                                                           \
        if (judged_at(OPEN, place, path) == FAIL)                                               \
            return refused();                                                                   \
        return REAL(name)(place, path, without_sync(flags), mode);                              \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && judged_file(MMAP, fd) == FAIL) {
        errno = plan.number;
        return MAP_FAILED;
    }
    return REAL(mmap)(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    if (fd >= 0 && judged_file(MMAP, fd) == FAIL) {
        errno = plan.number;
        return MAP_FAILED;
    }
    return REAL(mmap64)(at, size, protection, flags, fd, offset);
}

int mkdir(const char *path, mode_t mode)
{
    FAILING(judged(MKDIR, path), REAL(mkdir)(path, mode), refused());
}

int mkfifo(const char *path, mode_t mode)
{
    FAILING(judged(MKFIFO, path), REAL(mkfifo)(path, mode), refused());
}

int mkfifoat(int place, const char *path, mode_t mode)
{
    FAILING(judged_at(MKFIFO, place, path), REAL(mkfifoat)(place, path, mode), refused());
}

int renameat(int from_place, const char *from, int place, const char *to)
{
    FAILING(judged_at(RENAME, place, to), REAL(renameat)(from_place, from, place, to), refused());
}

int rename(const char *from, const char *to)
{
    FAILING(judged(RENAME, to), REAL(rename)(from, to), refused());
}

int flock(int fd, int operation)
{
    if (operation & LOCK_UN) /* which cannot fail for a file that is open */
        return REAL(flock)(fd, operation);
    FAILING(judged_file(FLOCK, fd), REAL(flock)(fd, operation), refused());
}

#define LOCKING(name)                                                                           \
    int name(int fd, int command, ...)                                                          \
    {                                                                                           \
        va_list rest;                                                                           \
        va_start(rest, command);                                                                \
        void *argument = va_arg(rest, void *);                                                  \
        va_end(rest);                                                                           \
        if ((command == F_SETLK || command == F_SETLKW) && judged_file(LOCK, fd) == FAIL)       \
            return refused();                                                                   \
        return REAL(name)(fd, command, argument);                                               \
    }
LOCKING(fcntl)
LOCKING(fcntl64)

int futimens(int fd, const struct timespec times[2])
{
    FAILING(judged_file(UTIME, fd), REAL(futimens)(fd, times), refused());
}

/* --- plans ------------------------------------------------------------------------------------------------------ */

static enum form form_of(const char *word)
{
    return word == NULL ? BEFORE : strcmp(word, "short") == 0 ? SHORT : strcmp(word, "late") == 0 ? LATE : BEFORE;
}

void failing_disarm(void)
{
    pthread_mutex_lock(&guard);
    is_armed = 0;
    pthread_mutex_unlock(&guard);
}

/* Returns 0 when it does not know one of the kinds. */
int failing_arm(const char *kinds, long nth, int number, const char *form, int persists, const char *directory,
                const char *suffix)
{
    char words[256], *rest = words, *word;
    unsigned chosen = 0;
    failing_disarm();
    snprintf(words, sizeof words, "%s", kinds);
    while ((word = strsep(&rest, "+")) != NULL) {
        unsigned bit = 0;
        for (int kind = 0; kind < KINDS; kind++)
            if (strcmp(names[kind], word) == 0)
                bit = 1u << kind;
        if (bit == 0)
            return 0;
        chosen |= bit;
    }
    pthread_mutex_lock(&guard);
    plan.kinds = chosen;
    plan.nth = nth;
    plan.number = number;
    plan.form = form_of(form);
    plan.persists = persists;
    snprintf(plan.directory, sizeof plan.directory, "%s", directory);
    snprintf(plan.suffix, sizeof plan.suffix, "%s", suffix);
    memset(counts, 0, sizeof counts);
    seen = failed = 0;
    first_failure[0] = 0;
    is_armed = 1;
    pthread_mutex_unlock(&guard);
    return 1;
}

/* How many calls of one kind there were since the plan was armed; -1 for a kind that it does not know. */
long failing_count(const char *word)
{
    for (int kind = 0; kind < KINDS; kind++)
        if (strcmp(names[kind], word) == 0)
            return counts[kind];
    return -1;
}

/* How many calls failed. */
long failing_failed(void)
{
    return failed;
}

/* The kind and the path of the first one that failed. */
const char *failing_first(void)
{
    return first_failure;
}

__attribute__((constructor)) static void from_environment(void)
{
    const char *kinds = getenv("FAILING_CALLS"), *nth = getenv("FAILING_NTH"), *number = getenv("FAILING_ERRNO");
    const char *directory = getenv("FAILING_DIRECTORY"), *suffix = getenv("FAILING_SUFFIX");
    const char *persists = getenv("FAILING_PERSISTS"), *unsynced = getenv("FAILING_UNSYNCED");
    is_unsynced = unsynced != NULL && strcmp(unsynced, "1") == 0;
    if (kinds == NULL || directory == NULL)
        return;
    if (!failing_arm(kinds, nth ? atol(nth) : 0, number ? atoi(number) : EIO, getenv("FAILING_FORM"),
                     persists != NULL && strcmp(persists, "1") == 0, directory, suffix ? suffix : "")) {
        fprintf(stderr, "failing.c: FAILING_CALLS has a kind that is not known: %s\n", kinds);
        abort();
    }
}
