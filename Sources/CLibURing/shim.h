// Glibc's own headers first, under the feature macros that Swift's Glibc module is made with. <liburing.h> defines
// _XOPEN_SOURCE and _GNU_SOURCE; where it came first, its fd_set would differ from the module's ("fds_bits").
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
// The kernel's header before liburing's copy of it: they share an include guard, and other packages import the kernel's.
#include <linux/io_uring.h>
#include <linux/falloc.h>
#include <linux/stat.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/statfs.h>

// Swift's Glibc module is made without _GNU_SOURCE, so that these are not in it (fcntl(2), fallocate(2), lseek(2)).
enum { LINUX_O_DIRECT = 040000, LINUX_F_OFD_GETLK = 36, LINUX_F_OFD_SETLK = 37 };
// A macro that Swift cannot read: _IO(0x12, 94), see <linux/fs.h>.
enum { LINUX_BLKROGET = 0x125E };
enum { LINUX_SEEK_DATA = 3, LINUX_SEEK_HOLE = 4 };
enum { LINUX_POLLRDHUP = 0x2000 };
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
enum { LINUX_AT_EMPTY_PATH = 0x1000 };
extern int statx(int folder, const char *path, int flags, unsigned int mask, struct statx *status);
enum { LINUX_RWF_NOWAIT = 0x8 };
extern ssize_t preadv2(int descriptor, const struct iovec *vectors, int count, off_t offset, int flags);
enum { LINUX_F_SETPIPE_SZ = 1031, LINUX_SPLICE_F_NONBLOCK = 2 };
extern int pipe2(int descriptors[2], int flags);
extern ssize_t splice(int from, off_t *from_offset, int to, off_t *to_offset, size_t count, unsigned int flags);
// Names of open(2) and prctl(2); the latter takes a variable number of arguments, which Swift cannot pass.
enum { LINUX_O_PATH = 010000000 };
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
// The kernel's call, which says how much of the mask it has filled; Glibc's needs a type of _GNU_SOURCE.
static inline long linux_processor_mask(void *mask, unsigned long byte_count) {
    return syscall(SYS_sched_getaffinity, 0, byte_count, mask);
}
static inline int linux_signal_at_parents_end(int number) { return prctl(PR_SET_PDEATHSIG, number); }
