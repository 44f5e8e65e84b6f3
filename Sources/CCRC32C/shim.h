// CRC32C by the processor's own instruction (SSE 4.2, ARMv8 CRC), which Swift cannot name.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

// The processor has CRC32 and the multiplication without carries.
static inline int crc32c_is_there(void) {
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) != 0 && (c & bit_PCLMUL) != 0;
}

static inline uint64_t crc32c_word(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

// The CRC as if n bytes of zeroes followed, where `factor` is x^(8n - 33) modulo the polynomial, bits reflected: the
// product is one bit short, and CRC32 multiplies by x^32.
__attribute__((target("sse4.2,pclmul")))
static inline uint64_t crc32c_shifted(uint64_t crc, uint32_t factor) {
    typedef long long pair __attribute__((vector_size(16)));
    pair product = __builtin_ia32_pclmulqdq128((pair){(long long)crc, 0}, (pair){factor, 0}, 0);
    return __builtin_ia32_crc32di(0, (uint64_t)product[0]);
}

// Three pieces of `piece` bytes each at once: an instruction has to wait three cycles for the one before it, but begins
// in each cycle.
__attribute__((target("sse4.2,pclmul")))
static inline uint64_t crc32c_pieces(
    uint64_t crc, const unsigned char *bytes, size_t piece, uint32_t once, uint32_t twice) {
    uint64_t second = 0, third = 0;
    for (size_t at = 0; at < piece; at += 8) {
        crc = __builtin_ia32_crc32di(crc, crc32c_word(bytes + at));
        second = __builtin_ia32_crc32di(second, crc32c_word(bytes + piece + at));
        third = __builtin_ia32_crc32di(third, crc32c_word(bytes + 2 * piece + at));
    }
    return crc32c_shifted(crc, twice) ^ crc32c_shifted(second, once) ^ third;
}

// Takes `count` bytes into a CRC, without the inversions at its beginning and its end.
__attribute__((target("sse4.2,pclmul")))
static inline uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t count) {
    const unsigned char *next = bytes;
    uint64_t wide = crc;
    for (; count >= 3 * 1024; count -= 3 * 1024, next += 3 * 1024)
        wide = crc32c_pieces(wide, next, 1024, 0x170076FA, 0xA51B6135);
    for (; count >= 3 * 128; count -= 3 * 128, next += 3 * 128)
        wide = crc32c_pieces(wide, next, 128, 0x0D3B6092, 0xB9E02B86);
    for (; count >= 8; count -= 8, next += 8) wide = __builtin_ia32_crc32di(wide, crc32c_word(next));
    crc = (uint32_t)wide;
    for (; count > 0; count--, next++) crc = __builtin_ia32_crc32qi(crc, *next);
    return crc;
}
#else
static inline int crc32c_is_there(void) { return 0; }
static inline uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return crc;
}
#endif
