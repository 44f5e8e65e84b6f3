// Large structs are used where they are.

import Synchronization

/// A field that keeps a struct from being copied: an atomic value has to stay at its address.
///
/// Without it, a method that changes nothing is handed a copy of the struct by each caller that could change it: 900
/// bytes of a loop, several times a request.
struct InPlace: ~Copyable {
    private let anchor = Atomic<Bool>(false)
}
