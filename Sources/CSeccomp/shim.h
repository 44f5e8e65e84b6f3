// Glibc's own headers first, under the feature macros that Swift's Glibc module is made with.
#include <sys/types.h>
#include <seccomp.h>

// Swift's Glibc module is made without _GNU_SOURCE, so that these are not in it (setresuid(2), getresuid(2)).
extern int setresuid(uid_t real, uid_t effective, uid_t saved);
extern int setresgid(gid_t real, gid_t effective, gid_t saved);
extern int getresuid(uid_t *real, uid_t *effective, uid_t *saved);
extern int getresgid(gid_t *real, gid_t *effective, gid_t *saved);

// Swift cannot call a function with a variable number of arguments.
extern int prctl(int option, ...);
extern long syscall(long number, ...);

static inline int set_process_option(int option, unsigned long value) {
    return prctl(option, value, 0UL, 0UL, 0UL);
}

// Landlock has no wrappers in Glibc; the numbers are the same on all architectures (landlock(7)). The structures grow from
// version to version of the interface, and a kernel takes a longer one than it knows as long as the rest of it is zero.
struct landlock_ruleset {
    unsigned long long handled_access_fs;
    unsigned long long handled_access_net;
    unsigned long long scoped;
};

struct landlock_path {
    unsigned long long allowed_access;
    int parent;
} __attribute__((packed));

static inline int landlock_create_ruleset(const struct landlock_ruleset *ruleset, size_t size, unsigned int flags) {
    return (int)syscall(444, ruleset, size, flags);
}

static inline int landlock_add_path(int ruleset, const struct landlock_path *rule) {
    return (int)syscall(445, ruleset, 1, rule, 0U);
}

static inline int landlock_restrict_self(int ruleset) {
    return (int)syscall(446, ruleset, 0U);
}

enum { LINUX_PR_SET_NO_NEW_PRIVS = 38, LINUX_PR_SET_IO_FLUSHER = 57 };
enum { LINUX_O_PATH = 010000000 };
enum { LINUX_MCL_ONFAULT = 4 };
