/* A planted fault: loaded with LD_PRELOAD, what a process writes to a `natter.db-wal` reaches the file half a second later, and a sync of it
 * does nothing. So the server answers posts that a kill of its process loses. What the process reads itself is up to date. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELD 4096
#define DELAY_US 500000
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct {
    int fd;
    off64_t at;
    size_t count;
    void *bytes;
} held[HELD];
static int count_held;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_log(int fd) {
    static const char name[] = "natter.db-wal";
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < (ssize_t)sizeof name) return 0;
    path[length] = 0;
    return strcmp(path + length - (sizeof name - 1), name) == 0;
}

static void write_all_locked(void) {
    for (int i = 0; i < count_held; i++) {
        if (REAL(pwrite64)(held[i].fd, held[i].bytes, held[i].count, held[i].at) < 0) abort();
        free(held[i].bytes);
    }
    count_held = 0;
}

static void write_all(void) {
    pthread_mutex_lock(&lock);
    write_all_locked();
    pthread_mutex_unlock(&lock);
}

static void *run(void *none) {
    for (;;) {
        usleep(DELAY_US);
        write_all();
    }
    return none;
}

static void start(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL) != 0) abort();
    atexit(write_all);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!is_log(fd)) return REAL(pwrite64)(fd, bytes, count, at);
    pthread_once(&once, start);
    void *copy = malloc(count);
    if (!copy) abort();
    memcpy(copy, bytes, count);
    pthread_mutex_lock(&lock);
    if (count_held == HELD) write_all_locked();
    held[count_held].fd = fd;
    held[count_held].at = at;
    held[count_held].count = count;
    held[count_held++].bytes = copy;
    pthread_mutex_unlock(&lock);
    return count;
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) {
    if (is_log(fd)) write_all();
    return REAL(pread64)(fd, bytes, count, at);
}
ssize_t pread(int fd, void *bytes, size_t count, off_t at) { return pread64(fd, bytes, count, at); }

int fsync(int fd) { return is_log(fd) ? 0 : (write_all(), REAL(fsync)(fd)); }
int fdatasync(int fd) { return is_log(fd) ? 0 : (write_all(), REAL(fdatasync)(fd)); }
int ftruncate64(int fd, off64_t size) { return write_all(), REAL(ftruncate64)(fd, size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int close(int fd) { return is_log(fd) ? (write_all(), REAL(close)(fd)) : REAL(close)(fd); }
