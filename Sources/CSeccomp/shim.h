// Glibc's own headers first, under the feature macros that Swift's Glibc module is made with.
#include <sys/types.h>
#include <seccomp.h>
