// How often memory was allocated and a reference counted.
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdint.h>

typedef struct {
    uint64_t allocations;
    uint64_t retains;
    uint64_t releases;
} Counts;

/// Counts from now on, what the calling thread does. Nothing in between may copy a short String: while its reference
/// counting is redirected, the runtime of Swift 6.3 takes the text in such a string for an object.
void countersBegin(void);

/// Ends counting.
///
/// \returns what was counted since the beginning.
Counts countersEnd(void);

#endif
