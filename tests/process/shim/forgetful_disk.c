/* A disk that loses unsynced writes: loaded with LD_PRELOAD, it keeps a copy of each `natter.db*` file as a power cut would
 * leave it.
 *
 * A sync writes the changed blocks to the copy in the folder FORGETFUL_DURABLE. If the file FORGETFUL_FAIL holds the name of a
 * database file, the next sync of that file fails once with EIO. The blocks that this sync should have written are dead from
 * then on: as on ext4, later syncs of these blocks succeed and write nothing, until the file is truncated below them. Renames
 * and removals are durable at once. While the
 * file FORGETFUL_LIES exists, nothing becomes durable, and a sync says that it did. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096
#define BLOCKS 1048576
#define FILES 16

static struct file {
    char name[64];
    unsigned char dead[BLOCKS];
} files[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);

__attribute__((constructor)) static void find(void) {
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
}

static const char *watched(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (strncmp(name, "natter.db", 9) != 0 || length >= 64) return NULL;
    if (length > 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
    return name;
}

static const char *watched_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return watched(path);
}

static struct file *state(const char *name) {
    for (int i = 0; i < FILES; i++)
        if (files[i].name[0] == 0 || strcmp(files[i].name, name) == 0) {
            strcpy(files[i].name, name);
            return &files[i];
        }
    abort();
}

static void durable(char *to, const char *name) {
    snprintf(to, PATH_MAX, "%s/%s", getenv("FORGETFUL_DURABLE"), name);
}

/* Whether this sync must fail. */
static int fails(const char *name) {
    char wanted[64] = "";
    FILE *control = fopen(getenv("FORGETFUL_FAIL"), "r");
    if (!control) return 0;
    if (fscanf(control, "%63s", wanted) != 1) wanted[0] = 0;
    fclose(control);
    if (strcmp(wanted, name) != 0) return 0;
    real_unlink(getenv("FORGETFUL_FAIL"));
    return 1;
}

/* Whether nothing becomes durable now. A call that succeeds leaves errno unchanged, as the kernel's do. */
static int lies(void) {
    const char *path = getenv("FORGETFUL_LIES");
    int saved = errno;
    int result = path && access(path, F_OK) == 0;
    errno = saved;
    return result;
}

static int sync_file(int fd) {
    char path[PATH_MAX], to[PATH_MAX];
    const char *name = watched_fd(fd, path);
    if (!name || !strstr(path, name)) return real_fsync(fd);
    if (lies()) return 0;
    pthread_mutex_lock(&lock);
    int failed = fails(name);
    struct file *file = state(name);
    durable(to, name);
    int from = open(path, O_RDONLY), out = open(to, O_RDWR | O_CREAT, 0600);
    struct stat is, was;
    if (from >= 0 && out >= 0 && fstat(from, &is) == 0 && fstat(out, &was) == 0) {
        char now[BLOCK], before[BLOCK];
        for (off_t block = 0; block * BLOCK < is.st_size && block < BLOCKS; block++) {
            ssize_t length = pread(from, now, BLOCK, block * BLOCK);
            ssize_t old = pread(out, before, BLOCK, block * BLOCK);
            if (length <= 0 || (old == length && memcmp(now, before, length) == 0)) continue;
            if (failed) file->dead[block] = 1;
            if (!file->dead[block] && pwrite(out, now, length, block * BLOCK) != length) abort();
        }
        if (!failed && was.st_size < is.st_size && real_ftruncate(out, is.st_size) != 0) abort();
    } else {
        abort();
    }
    /* Never closed, because that would release the locks that SQLite has on the database file. */
    if (strcmp(name, "natter.db-wal") == 0) close(from);
    close(out);
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    /* The real disk may lose its power, too. */
    return failed ? -1 : real_fsync(fd);
}

int fsync(int fd) { return sync_file(fd); }
int fdatasync(int fd) { return sync_file(fd); }

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX], to[PATH_MAX];
    const char *name = watched_fd(fd, path);
    int result = real_ftruncate(fd, size);
    if (name && result == 0 && !lies()) {
        pthread_mutex_lock(&lock);
        struct file *file = state(name);
        for (off_t block = (size + BLOCK - 1) / BLOCK; block < BLOCKS; block++) file->dead[block] = 0;
        durable(to, name);
        struct stat was;
        if (stat(to, &was) == 0 && was.st_size > size && truncate(to, size) != 0) abort();
        pthread_mutex_unlock(&lock);
    }
    return result;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    int result = real_rename(from, to);
    const char *a = watched(from), *b = watched(to);
    if (result == 0 && a && b && !lies()) {
        pthread_mutex_lock(&lock);
        durable(old, a);
        durable(new, b);
        real_rename(old, new);
        memcpy(state(b)->dead, state(a)->dead, BLOCKS);
        memset(state(a)->dead, 0, BLOCKS);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int unlink(const char *path) {
    char to[PATH_MAX];
    int result = real_unlink(path);
    const char *name = watched(path);
    if (result == 0 && name && !lies()) {
        pthread_mutex_lock(&lock);
        durable(to, name);
        real_unlink(to);
        memset(state(name)->dead, 0, BLOCKS);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
