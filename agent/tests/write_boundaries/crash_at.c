/* Loaded before the C library: counts what a process does to the files under one folder, and ends
 * it at one of those places as a crash would.
 *
 *   CRASH_DIR    the folder; its real path
 *   CRASH_AT     the process is killed in place of the operation with this number, from 1
 *   CRASH_TORN   set: only writes count, and the first half of that one is still made
 *   CRASH_LOG    all operations are appended to this file, as described at `record`
 *   CRASH_NOTES  what is written to this file goes into that log too
 *
 * In Rust this would be unsafe code, which the project forbids. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The C library's own function of that name. */
#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* One operation at a time, so that the log's order is what happened. */
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static long counted;

static int is_under(const char *path, const char *variable) {
    const char *dir = getenv(variable);
    size_t length = dir ? strlen(dir) : 0;
    return length > 0 && strncmp(path, dir, length) == 0 && (path[length] == '/' || !path[length]);
}

static void path_of(int fd, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    path[length < 0 ? 0 : length] = 0;
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts an operation; true if the process must end here. */
static int is_last(int is_write) {
    const char *at = getenv("CRASH_AT");
    if (getenv("CRASH_TORN") && !is_write) return 0;
    return at && ++counted == atol(at);
}

static void put(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    while (length > 0) {
        ssize_t done = real_write(fd, bytes, length);
        if (done <= 0) abort();
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
    }
}

/* Kind, path, a number and bytes, each after its length. Little endian machines only. */
static void record(char kind, const char *path, uint64_t number, const void *bytes, size_t length) {
    static int log = -1;
    const char *to = getenv("CRASH_LOG");
    if (!to) return;
    if (log < 0) {
        REAL(int, open64, const char *, int, ...);
        log = real_open64(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log < 0) abort();
    }
    uint32_t path_length = (uint32_t)strlen(path), byte_length = (uint32_t)length;
    put(log, &kind, 1);
    put(log, &path_length, 4);
    put(log, path, path_length);
    put(log, &number, 8);
    put(log, &byte_length, 4);
    put(log, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    char path[4096];
    path_of(fd, path);
    if (!is_under(path, "CRASH_DIR")) return real_pwrite64(fd, bytes, length, offset);
    pthread_mutex_lock(&busy);
    if (is_last(1)) {
        if (getenv("CRASH_TORN")) real_pwrite64(fd, bytes, length / 2, offset);
        end();
    }
    ssize_t done = real_pwrite64(fd, bytes, length, offset);
    if (done > 0) record('w', path, (uint64_t)offset, bytes, (size_t)done);
    pthread_mutex_unlock(&busy);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    char path[4096];
    path_of(fd, path);
    if (is_under(path, "CRASH_NOTES")) {
        pthread_mutex_lock(&busy);
        ssize_t done = real_write(fd, bytes, length);
        if (done > 0) record('n', path, 0, bytes, (size_t)done);
        pthread_mutex_unlock(&busy);
        return done;
    }
    if (!is_under(path, "CRASH_DIR")) return real_write(fd, bytes, length);
    pthread_mutex_lock(&busy);
    if (is_last(1)) {
        if (getenv("CRASH_TORN")) real_write(fd, bytes, length / 2);
        end();
    }
    off64_t at = lseek64(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, bytes, length);
    if (done > 0) record('w', path, (uint64_t)at, bytes, (size_t)done);
    pthread_mutex_unlock(&busy);
    return done;
}

/* Of an operation that has a descriptor: `call` unless the process ends before it. */
#define ON_FILE(fd, kind, number, call) \
    char path[4096]; \
    path_of(fd, path); \
    if (!is_under(path, "CRASH_DIR")) return call; \
    pthread_mutex_lock(&busy); \
    if (is_last(0)) end(); \
    int failed = call; \
    if (!failed) record(kind, path, (uint64_t)(number), "", 0); \
    pthread_mutex_unlock(&busy); \
    return failed

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    ON_FILE(fd, 's', 0, real_fdatasync(fd));
}

int fsync(int fd) {
    REAL(int, fsync, int);
    ON_FILE(fd, 's', 0, real_fsync(fd));
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    ON_FILE(fd, 't', length, real_ftruncate64(fd, length));
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    REAL(int, sync_file_range, int, off64_t, off64_t, unsigned);
    /* Makes nothing durable that a power cut could not still take, so it is not in the log. */
    ON_FILE(fd, 'x', 0, real_sync_file_range(fd, offset, length, flags));
}

/* Of an operation that has a path. */
#define ON_PATH(name, kind, more, length, call) \
    if (!is_under(name, "CRASH_DIR")) return call; \
    pthread_mutex_lock(&busy); \
    if (is_last(0)) end(); \
    int failed = call; \
    if (!failed) record(kind, name, 0, more, length); \
    pthread_mutex_unlock(&busy); \
    return failed

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    ON_PATH(from, 'r', to, strlen(to), real_rename(from, to));
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    ON_PATH(path, 'u', "", 0, real_unlink(path));
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    ON_PATH(path, 'd', "", 0, real_mkdir(path, mode));
}

/* Only what makes or empties a file changes anything. */
int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    int changes = (flags & O_TRUNC) || ((flags & O_CREAT) && access(path, F_OK) != 0);
    if (!changes || !is_under(path, "CRASH_DIR")) return real_open64(path, flags, mode);
    pthread_mutex_lock(&busy);
    if (is_last(0)) end();
    int fd = real_open64(path, flags, mode);
    if (fd >= 0) record('o', path, 0, "", 0);
    pthread_mutex_unlock(&busy);
    return fd;
}
