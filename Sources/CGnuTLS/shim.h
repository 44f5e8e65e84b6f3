// Glibc's own headers first, under the feature macros that Swift's Glibc module is made with.
#include <sys/types.h>
#include <gnutls/gnutls.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

// GnuTLS's allocator is a pair of global variables, which Swift 6 does not let anybody read; memory that GnuTLS frees
// or hands over has to come from it and go back to it all the same.
static inline void *gnutls_allocate(size_t count) { return gnutls_malloc(count); }
static inline void gnutls_release(void *memory) { gnutls_free(memory); }
