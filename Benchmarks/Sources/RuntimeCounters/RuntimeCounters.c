// Counts allocations and reference counts without anybody's help: malloc and its kin are defined here, before the C
// library's (which has the real ones under other names), and the Swift runtime calls what its pointers for
// instrumentation say.
#include "RuntimeCounters.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static _Thread_local Counts counts;

// glibc's own names.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    counts.allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    counts.allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    counts.allocations++;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    counts.allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    counts.allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

// The Swift runtime's pointers, and the switch that makes it look at them (since Swift 6.1).
extern void *(*_swift_retain)(void *);
extern void (*_swift_release)(void *);
extern void *(*_swift_retain_n)(void *, uint32_t);
extern void (*_swift_release_n)(void *, uint32_t);
extern bool _swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly;

static void *(*retain)(void *);
static void (*release)(void *);
static void *(*retainSeveral)(void *, uint32_t);
static void (*releaseSeveral)(void *, uint32_t);

static void *countedRetain(void *object) {
    counts.retains++;
    return retain(object);
}

static void countedRelease(void *object) {
    counts.releases++;
    release(object);
}

static void *countedRetainSeveral(void *object, uint32_t count) {
    counts.retains++;
    return retainSeveral(object, count);
}

static void countedReleaseSeveral(void *object, uint32_t count) {
    counts.releases++;
    releaseSeveral(object, count);
}

void countersBegin(void) {
    retain = _swift_retain;
    release = _swift_release;
    retainSeveral = _swift_retain_n;
    releaseSeveral = _swift_release_n;
    _swift_retain = countedRetain;
    _swift_release = countedRelease;
    _swift_retain_n = countedRetainSeveral;
    _swift_release_n = countedReleaseSeveral;
    _swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly = true;
    counts = (Counts){0, 0, 0};
}

Counts countersEnd(void) {
    Counts result = counts;
    // An allocation sets the switch by itself while one of the pointers is not the runtime's own.
    _swift_retain = retain;
    _swift_release = release;
    _swift_retain_n = retainSeveral;
    _swift_release_n = releaseSeveral;
    _swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly = false;
    return result;
}
