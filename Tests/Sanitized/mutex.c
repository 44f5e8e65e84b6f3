// Tells Thread Sanitizer of Swift's Mutex. Its fast way is compiled into the program, and seen; but a thread that has to wait
// does so in libswiftSynchronization, which is not instrumented. This library is loaded before that one, and says what it does.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define SELF __attribute__((swift_context))
#define SWIFT __attribute__((swiftcall))

// Without Thread Sanitizer there is nobody to tell.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

// Synchronization._MutexHandle._lockSlow(UInt32) -> ()
extern void lockSlow(uint32_t thread, SELF void *handle) SWIFT
    __asm__("$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF");
// Synchronization._MutexHandle._unlockSlow() -> ()
extern void unlockSlow(SELF void *handle) SWIFT __asm__("$s15Synchronization12_MutexHandleV11_unlockSlowyyF");

void SWIFT lockSlow(uint32_t thread, SELF void *handle) {
    void SWIFT (*real)(uint32_t, SELF void *) = dlsym(RTLD_NEXT, "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF");
    real(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

void SWIFT unlockSlow(SELF void *handle) {
    void SWIFT (*real)(SELF void *) = dlsym(RTLD_NEXT, "$s15Synchronization12_MutexHandleV11_unlockSlowyyF");
    if (__tsan_release) __tsan_release(handle);
    real(handle);
}
