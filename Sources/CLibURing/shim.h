// _GNU_SOURCE first: without it <liburing.h> sets _XOPEN_SOURCE, and its fd_set clashes with Glibc's module.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// The kernel's header before liburing's copy of it: they share an include guard, and other packages import the kernel's.
#include <linux/io_uring.h>
#include <liburing.h>
