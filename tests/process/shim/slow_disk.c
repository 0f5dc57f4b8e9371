/* A slow disk: loaded with LD_PRELOAD, each sync of a file takes SLOW_DISK_MS milliseconds longer, as on an SD card. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void wait_for_disk(void) {
    const char *ms = getenv("SLOW_DISK_MS");
    if (ms) usleep(atoi(ms) * 1000);
}

int fsync(int fd) { return wait_for_disk(), REAL(fsync)(fd); }
int fdatasync(int fd) { return wait_for_disk(), REAL(fdatasync)(fd); }
