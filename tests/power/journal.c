/*
 * Writes a journal of all that happens to one file: each write with its bytes, each sync, and each change of its size.
 *
 * Loaded before the C library by LD_PRELOAD. EVENTLOG_JOURNAL names the journal, EVENTLOG_JOURNAL_OF the file, which
 * need not exist yet. Descriptors are told by what they refer to, so copies and inherited ones are seen as well.
 *
 * Two frames stand for one call: the first is there before the call begins, the second after it has ended. So whatever
 * order threads and processes run in, the journal claims nothing that is not so: a write may be on the disk from its
 * first frame on, and a sync speaks for those writes alone whose second frame comes before the sync's first. No lock is
 * needed: the kernel appends each frame as a whole, and other programs may append frames of their own. What reads the
 * journal is tests/power/journal.py.
 *
 * EVENTLOG_JOURNAL_SYNC_US makes each sync take that long, so that others run meanwhile.
 * EVENTLOG_JOURNAL_PLANT=deaf plants a bug: a sync says that it was done, and nothing was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PIECES = 1024, LONGEST_PATH = 4096 };

struct frame {
    uint32_t kind;   /* one of the letters below; the letter of an end is the small one */
    uint32_t flags;  /* of a write, 1: the call returns once it is on the disk (O_DSYNC, O_SYNC) */
    uint64_t number; /* the same in both frames of one call, and in no others */
    int64_t place;   /* of a write, where it begins; of a change of size, the size; of an end, what the call returned */
    uint64_t length; /* bytes that follow */
};

enum { WRITE = 'W', WRITTEN = 'w', SYNC = 'S', SYNCED = 's', RESIZE = 'R', RESIZED = 'r', ENTRY = 'D', ENTERED = 'd' };

static int journal = -1;
static int is_deaf;
static long sync_us;
static char watched[LONGEST_PATH];
static char directory[LONGEST_PATH];
static uint64_t calls;

/* The function of that name that we stand before. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("EVENTLOG_JOURNAL"), *of = getenv("EVENTLOG_JOURNAL_OF");
    const char *plant = getenv("EVENTLOG_JOURNAL_PLANT"), *us = getenv("EVENTLOG_JOURNAL_SYNC_US");
    if (path == NULL || of == NULL || strlen(of) >= sizeof watched) return;
    strcpy(watched, of);
    strcpy(directory, of);
    char *slash = strrchr(directory, '/');
    if (slash != NULL) *slash = 0;
    is_deaf = plant != NULL && strcmp(plant, "deaf") == 0;
    sync_us = us != NULL ? atol(us) : 0;
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) {
        perror("journal.c: cannot open the journal");
        abort();
    }
}

static int refers_to(int descriptor, const char *path) {
    struct stat of_descriptor, of_path;
    return fstat(descriptor, &of_descriptor) == 0 && stat(path, &of_path) == 0 &&
           of_descriptor.st_dev == of_path.st_dev && of_descriptor.st_ino == of_path.st_ino;
}

static int is_watched(int descriptor) {
    if (journal < 0 || descriptor == journal) return 0;
    int before = errno, is_it = refers_to(descriptor, watched);
    errno = before;
    return is_it;
}

static void note(int kind, uint32_t flags, uint64_t number, int64_t place, const struct iovec *pieces, int count) {
    struct iovec all[MOST_PIECES + 1];
    struct frame frame = {(uint32_t)kind, flags, number, place, 0};
    int before = errno;
    for (int at = 0; at < count; at++) {
        all[at + 1] = pieces[at];
        frame.length += pieces[at].iov_len;
    }
    all[0] = (struct iovec){&frame, sizeof frame};
    ssize_t whole = (ssize_t)(sizeof frame + frame.length);
    if (syscall(SYS_writev, journal, all, count + 1) != whole) {
        perror("journal.c: cannot write to the journal");
        abort();
    }
    errno = before;
}

static uint64_t next_number(void) {
    return (uint64_t)getpid() << 32 | (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) & 0xffffffff);
}

static uint64_t note_write(int descriptor, int64_t place, const struct iovec *pieces, int count) {
    if (count > MOST_PIECES) abort();
    uint64_t number = next_number();
    uint32_t is_synced = (fcntl(descriptor, F_GETFL) & O_DSYNC) != 0;
    note(WRITE, is_synced, number, place, pieces, count);
    return number;
}

static ssize_t written(uint64_t number, ssize_t result) {
    note(WRITTEN, 0, number, result, NULL, 0);
    return result;
}

static void linger(void) {
    struct timespec time = {0, sync_us * 1000};
    if (sync_us > 0) nanosleep(&time, NULL);
}

/* -- writes ------------------------------------------------------------------------------------------------------- */

ssize_t write(int descriptor, const void *bytes, size_t length) {
    if (!is_watched(descriptor)) return NEXT(write)(descriptor, bytes, length);
    struct iovec piece = {(void *)bytes, length};
    uint64_t number = note_write(descriptor, lseek(descriptor, 0, SEEK_CUR), &piece, 1);
    return written(number, NEXT(write)(descriptor, bytes, length));
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    if (!is_watched(descriptor)) return NEXT(writev)(descriptor, pieces, count);
    uint64_t number = note_write(descriptor, lseek(descriptor, 0, SEEK_CUR), pieces, count);
    return written(number, NEXT(writev)(descriptor, pieces, count));
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t place) {
    if (!is_watched(descriptor)) return NEXT(pwrite)(descriptor, bytes, length, place);
    struct iovec piece = {(void *)bytes, length};
    uint64_t number = note_write(descriptor, place, &piece, 1);
    return written(number, NEXT(pwrite)(descriptor, bytes, length, place));
}

ssize_t pwritev(int descriptor, const struct iovec *pieces, int count, off_t place) {
    if (!is_watched(descriptor)) return NEXT(pwritev)(descriptor, pieces, count, place);
    uint64_t number = note_write(descriptor, place, pieces, count);
    return written(number, NEXT(pwritev)(descriptor, pieces, count, place));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t place) {
    return pwrite(descriptor, bytes, length, (off_t)place);
}

ssize_t pwritev64(int descriptor, const struct iovec *pieces, int count, off64_t place) {
    return pwritev(descriptor, pieces, count, (off_t)place);
}

/* -- syncs -------------------------------------------------------------------------------------------------------- */

static int synced(int descriptor, int (*sync)(int)) {
    int is_entry = journal >= 0 && refers_to(descriptor, directory);
    if (!is_entry && !is_watched(descriptor)) return sync(descriptor);
    if (is_deaf) return 0;
    uint64_t number = next_number();
    note(is_entry ? ENTRY : SYNC, 0, number, 0, NULL, 0);
    int result = sync(descriptor);
    linger();
    note(is_entry ? ENTERED : SYNCED, 0, number, result, NULL, 0);
    return result;
}

int fdatasync(int descriptor) { return synced(descriptor, NEXT(fdatasync)); }

int fsync(int descriptor) { return synced(descriptor, NEXT(fsync)); }

/* -- sizes -------------------------------------------------------------------------------------------------------- */

int ftruncate(int descriptor, off_t size) {
    if (!is_watched(descriptor)) return NEXT(ftruncate)(descriptor, size);
    uint64_t number = next_number();
    note(RESIZE, 0, number, size, NULL, 0);
    int result = NEXT(ftruncate)(descriptor, size);
    note(RESIZED, 0, number, result, NULL, 0);
    return result;
}

int truncate(const char *path, off_t size) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return -1;
    int result = ftruncate(descriptor, size), before = errno;
    close(descriptor);
    errno = before;
    return result;
}

int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, (off_t)size); }

int truncate64(const char *path, off64_t size) { return truncate(path, (off_t)size); }
