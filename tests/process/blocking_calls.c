/* Says which calls that may block are made on the thread of the event loop, the first of the process. A test preloads it
   (LD_PRELOAD): from the first epoll_wait of that thread on, each such call appends a line to the file BLOCKING_CALLS names.
   What is not looked at: calls on sockets and pipes that are non-blocking; getrandom, which waits for the first random bits of a
   system that boots, and the start has drawn some before the loop; and the end, once the loop is over. */
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

/* By system calls only: what is called here must not be looked at itself. */
static void say(const char *call, const char *what) {
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
        say("looking", "");
    }
    return REAL(epoll_wait)(fd, events, max, timeout);
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list more;                                    \
        va_start(more, flags);                           \
        int mode = va_arg(more, int);                    \
        va_end(more);                                    \
        say(#name, path);                                \
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
        say(#name, path);                                \
        return REAL(name)(at, path, flags, mode);        \
    }
OPENAT(openat)
OPENAT(openat64)

int statx(int at, const char *restrict path, int flags, unsigned mask, struct statx *restrict out) {
    say("statx", path);
    return REAL(statx)(at, path, flags, mask, out);
}
int unlink(const char *path) { say("unlink", path); return REAL(unlink)(path); }
int rename(const char *from, const char *to) { say("rename", from); return REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { say("mkdir", path); return REAL(mkdir)(path, mode); }
/* Of a regular file: the last close of one that was deleted frees its blocks. */
int close(int fd) {
    struct stat is;
    if (on_the_loop() && syscall(SYS_fstat, fd, &is) == 0 && S_ISREG(is.st_mode)) say("close", "a regular file");
    return REAL(close)(fd);
}
int fsync(int fd) { say("fsync", ""); return REAL(fsync)(fd); }
int fdatasync(int fd) { say("fdatasync", ""); return REAL(fdatasync)(fd); }
int flock(int fd, int how);
int flock(int fd, int how) { say("flock", ""); return REAL(flock)(fd, how); }
int mincore(void *at, size_t len, unsigned char *out) { say("mincore", ""); return REAL(mincore)(at, len, out); }
int nanosleep(const struct timespec *time, struct timespec *left) { say("nanosleep", ""); return REAL(nanosleep)(time, left); }
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    say("clock_nanosleep", "");
    return REAL(clock_nanosleep)(clock, flags, time, left);
}
ssize_t pread64(int fd, void *bytes, size_t len, off64_t at) { say("pread", ""); return REAL(pread64)(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) { say("pwrite", ""); return REAL(pwrite64)(fd, bytes, len, at); }
ssize_t write(int fd, const void *bytes, size_t len) {
    if (fd == 2) say("write", "stderr");
    return REAL(write)(fd, bytes, len);
}
struct addrinfo;
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    say("getaddrinfo", node);
    return REAL(getaddrinfo)(node, service, hints, out);
}
