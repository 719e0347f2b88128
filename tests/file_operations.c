/* Counts what a process does to the files of a folder, and ends it at a chosen operation: for tests/test_crashes.py.
 *
 * Loaded by LD_PRELOAD. The folder is $CRASH_FOLDER. crash_at(n, after) ends the process at its n-th operation from now on, before
 * or after it is done, as a kill would: nothing is flushed and no handler runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { STATUS = 86, FILES = 65536 };

static atomic_long done, last = -1;
static int ends_after;
static char ours[FILES]; /* by file descriptor: opened for writing in the folder */

long operations(void) { return atomic_load(&done); }

void crash_at(long n, int after) {
  ends_after = after;
  atomic_store(&done, 0);
  atomic_store(&last, n);
}

static int in_folder(int at, const char *path) {
  const char *folder = getenv("CRASH_FOLDER");
  char link[64], parent[PATH_MAX];
  if (!folder || !path) return 0;
  if (path[0] == '/') return strncmp(path, folder, strlen(folder)) == 0;
  if (at == AT_FDCWD) {
    if (!getcwd(parent, sizeof parent)) return 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t n = readlink(link, parent, sizeof parent - 1);
    if (n < 0) return 0;
    parent[n] = 0;
  }
  return strncmp(parent, folder, strlen(folder)) == 0;
}

static int is_ours(int fd) { return fd >= 0 && fd < FILES && ours[fd]; }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* One operation, if it is in the folder. */
#define OPERATION(type, counts, call)                              \
  do {                                                             \
    int counted = (counts);                                        \
    int ends = counted && atomic_fetch_add(&done, 1) + 1 == last; \
    if (ends && !ends_after) _exit(STATUS);                        \
    type result = (call);                                          \
    if (ends) _exit(STATUS);                                       \
    return result;                                                 \
  } while (0)

static int opened(int fd, int counted) {
  if (fd >= 0 && fd < FILES) ours[fd] = counted;
  return fd;
}

#define OPEN(name, at, ...)                                                                            \
  va_list rest;                                                                                        \
  va_start(rest, flags);                                                                               \
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                              \
  va_end(rest);                                                                                        \
  int counts = (flags & O_ACCMODE) != O_RDONLY && !(flags & O_DIRECTORY && (flags & O_TMPFILE) != O_TMPFILE) && in_folder(at, path); \
  OPERATION(int, counts, opened(NEXT(name)(__VA_ARGS__, mode), counts))

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, path, flags); }
int openat(int at, const char *path, int flags, ...) { OPEN(openat, at, at, path, flags); }
int openat64(int at, const char *path, int flags, ...) { OPEN(openat64, at, at, path, flags); }

ssize_t write(int fd, const void *data, size_t n) { OPERATION(ssize_t, is_ours(fd), NEXT(write)(fd, data, n)); }
ssize_t writev(int fd, const struct iovec *v, int n) { OPERATION(ssize_t, is_ours(fd), NEXT(writev)(fd, v, n)); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { OPERATION(ssize_t, is_ours(fd), NEXT(pwrite)(fd, data, n, at)); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { OPERATION(ssize_t, is_ours(fd), NEXT(pwrite64)(fd, data, n, at)); }
int close(int fd) {
  opened(fd, 0);
  return NEXT(close)(fd);
}
int fsync(int fd) { OPERATION(int, is_ours(fd), NEXT(fsync)(fd)); }
int fdatasync(int fd) { OPERATION(int, is_ours(fd), NEXT(fdatasync)(fd)); }
int ftruncate(int fd, off_t n) { OPERATION(int, is_ours(fd), NEXT(ftruncate)(fd, n)); }
int ftruncate64(int fd, off64_t n) { OPERATION(int, is_ours(fd), NEXT(ftruncate64)(fd, n)); }

int rename(const char *from, const char *to) { OPERATION(int, in_folder(AT_FDCWD, to), NEXT(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { OPERATION(int, in_folder(b, to), NEXT(renameat)(a, from, b, to)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  OPERATION(int, in_folder(b, to), NEXT(renameat2)(a, from, b, to, flags));
}
int link(const char *from, const char *to) { OPERATION(int, in_folder(AT_FDCWD, to), NEXT(link)(from, to)); }
int unlink(const char *path) { OPERATION(int, in_folder(AT_FDCWD, path), NEXT(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { OPERATION(int, in_folder(at, path), NEXT(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { OPERATION(int, in_folder(AT_FDCWD, path), NEXT(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { OPERATION(int, in_folder(AT_FDCWD, path), NEXT(mkdir)(path, mode)); }
int mkdirat(int at, const char *path, mode_t mode) { OPERATION(int, in_folder(at, path), NEXT(mkdirat)(at, path, mode)); }
