// _GNU_SOURCE first, or <liburing.h> falls back to _XOPEN_SOURCE and its fd_set clashes with Glibc's module.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// The kernel's header before liburing's own copy: their include guards are the same, and other packages import the kernel's.
#include <linux/io_uring.h>
#include <liburing.h>
