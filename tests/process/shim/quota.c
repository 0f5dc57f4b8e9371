/* A quota that is used up: loaded with LD_PRELOAD, it refuses to let files below the folder QUOTA_FOLDER grow while the file
 * QUOTA_USED_UP exists. If that file is not empty, the disk is broken: all writes to these files fail with EIO. As with the quotas of ext4 and XFS, bytes of a file that exist can be overwritten, and bytes that the
 * process frees can be used again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static off_t freed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A call that succeeds leaves errno unchanged, as the kernel's do. */
static int is_limited(const char *path) {
    const char *folder = getenv("QUOTA_FOLDER");
    int saved = errno;
    int limited = strncmp(path, folder, strlen(folder)) == 0 && access(getenv("QUOTA_USED_UP"), F_OK) == 0;
    errno = saved;
    return limited;
}

/* Whether the file may not have `end` bytes. `shrinks`: whether it ends there afterwards. */
static int is_refused(int fd, off_t end, int shrinks) {
    struct stat is;
    char link[64], path[PATH_MAX];
    if (fstat(fd, &is) != 0 || !S_ISREG(is.st_mode) || (end <= is.st_size && !shrinks)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!is_limited(path)) return 0;
    pthread_mutex_lock(&lock);
    int refused = end - is.st_size > freed;
    if (!refused) freed -= end - is.st_size;
    pthread_mutex_unlock(&lock);
    if (refused) errno = EDQUOT;
    return refused;
}

/* Whether the disk is broken, and the file is on it. */
static int is_broken(int fd) {
    struct stat is;
    char link[64], path[PATH_MAX];
    int saved = errno;
    int broken = stat(getenv("QUOTA_USED_UP"), &is) == 0 && is.st_size > 0;
    errno = saved;
    if (!broken) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!is_limited(path)) return 0;
    errno = EIO;
    return 1;
}

/* natter writes its files with this one from the beginning to the end. */
ssize_t write(int fd, const void *bytes, size_t count) {
    struct stat is;
    if (is_broken(fd)) return -1;
    if (fstat(fd, &is) == 0 && is_refused(fd, is.st_size + count, 0)) return -1;
    return REAL(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return is_broken(fd) || is_refused(fd, at + count, 0) ? -1 : REAL(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return is_broken(fd) || is_refused(fd, at + count, 0) ? -1 : REAL(pwrite64)(fd, bytes, count, at);
}
/* A file that becomes longer by this call takes no space. */
static void count_freed(int fd, off_t size) {
    struct stat is;
    if (fstat(fd, &is) == 0 && size < is.st_size) is_refused(fd, size, 1);
}
int ftruncate(int fd, off_t size) { count_freed(fd, size); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { count_freed(fd, size); return REAL(ftruncate64)(fd, size); }

int unlink(const char *path) {
    struct stat is;
    char real[PATH_MAX];
    int saved = errno;
    off_t size = stat(path, &is) == 0 && realpath(path, real) && is_limited(real) ? is.st_size : 0;
    errno = saved;
    int result = REAL(unlink)(path);
    if (result == 0) {
        pthread_mutex_lock(&lock);
        freed += size;
        pthread_mutex_unlock(&lock);
    }
    return result;
}
