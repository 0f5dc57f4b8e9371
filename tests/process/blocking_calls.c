/* Records calls on the event loop's thread (the first thread of the process) that may block. A test loads it with LD_PRELOAD.
   From the first epoll_wait of that thread on, each such call appends a line to the file BLOCKING_CALLS.
   Not recorded: calls on non-blocking sockets and pipes; getrandom, which blocks only until the system has its first random
   bits, and the start has drawn some before the loop; and the shutdown after the loop has ended. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int armed;

static int on_the_loop(void) { return armed && syscall(SYS_gettid) == syscall(SYS_getpid); }

/* Uses only system calls, so that its own calls are not recorded. */
static void record(const char *call, const char *what) {
    if (!on_the_loop()) return;
    const char *path = getenv("BLOCKING_CALLS");
    char line[512];
    int len = 0;
    for (const char *c = call; *c && len < 100; c++) line[len++] = *c;
    line[len++] = ' ';
    for (const char *c = what ? what : ""; *c && len < 500; c++) line[len++] = *c;
    line[len++] = '\n';
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    syscall(SYS_write, fd, line, len);
    syscall(SYS_close, fd);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout) {
    if (!armed && syscall(SYS_gettid) == syscall(SYS_getpid)) {
        armed = 1;
        record("recording", "");
    }
    return REAL(epoll_wait)(fd, events, max, timeout);
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list more;                                    \
        va_start(more, flags);                           \
        int mode = va_arg(more, int);                    \
        va_end(more);                                    \
        record(#name, path);                                \
        return REAL(name)(path, flags, mode);            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                     \
    int name(int at, const char *path, int flags, ...) { \
        va_list more;                                    \
        va_start(more, flags);                           \
        int mode = va_arg(more, int);                    \
        va_end(more);                                    \
        record(#name, path);                                \
        return REAL(name)(at, path, flags, mode);        \
    }
OPENAT(openat)
OPENAT(openat64)

int statx(int at, const char *restrict path, int flags, unsigned mask, struct statx *restrict out) {
    record("statx", path);
    return REAL(statx)(at, path, flags, mask, out);
}
int unlink(const char *path) { record("unlink", path); return REAL(unlink)(path); }
int rename(const char *from, const char *to) { record("rename", from); return REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { record("mkdir", path); return REAL(mkdir)(path, mode); }
/* Recorded for regular files: the last close of a deleted file frees its blocks. */
int close(int fd) {
    struct stat is;
    if (on_the_loop() && syscall(SYS_fstat, fd, &is) == 0 && S_ISREG(is.st_mode)) record("close", "a regular file");
    return REAL(close)(fd);
}
int fsync(int fd) { record("fsync", ""); return REAL(fsync)(fd); }
int fdatasync(int fd) { record("fdatasync", ""); return REAL(fdatasync)(fd); }
int flock(int fd, int how);
int flock(int fd, int how) { record("flock", ""); return REAL(flock)(fd, how); }
int mincore(void *at, size_t len, unsigned char *out) { record("mincore", ""); return REAL(mincore)(at, len, out); }
int nanosleep(const struct timespec *time, struct timespec *left) { record("nanosleep", ""); return REAL(nanosleep)(time, left); }
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    record("clock_nanosleep", "");
    return REAL(clock_nanosleep)(clock, flags, time, left);
}
ssize_t pread64(int fd, void *bytes, size_t len, off64_t at) { record("pread", ""); return REAL(pread64)(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) { record("pwrite", ""); return REAL(pwrite64)(fd, bytes, len, at); }
ssize_t write(int fd, const void *bytes, size_t len) {
    if (fd == 2) record("write", "stderr");
    return REAL(write)(fd, bytes, len);
}
struct addrinfo;
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    record("getaddrinfo", node);
    return REAL(getaddrinfo)(node, service, hints, out);
}
