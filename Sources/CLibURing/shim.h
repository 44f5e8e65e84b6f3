// _GNU_SOURCE first: without it <liburing.h> sets _XOPEN_SOURCE, and its fd_set clashes with Glibc's module.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// The kernel's header before liburing's copy of it: they share an include guard, and other packages import the kernel's.
#include <linux/io_uring.h>
#include <linux/falloc.h>
#include <liburing.h>

// Swift's Glibc module is made without _GNU_SOURCE, so that these are not in it (fcntl(2), fallocate(2)).
enum { LINUX_O_DIRECT = 040000, LINUX_F_OFD_GETLK = 36, LINUX_F_OFD_SETLK = 37 };
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
