// CRC32C by the processor's own instructions (SSE 4.2, PCLMULQDQ, VPCLMULQDQ), which Swift cannot name.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

// 1: the processor has CRC32 and the multiplication without carries. 2: it multiplies in four lanes at once, and the
// kernel keeps the registers for that (XCR0: SSE, AVX, and the three parts of AVX-512). 0: neither.
static inline int crc32c_way(void) {
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSE4_2) == 0 || (c & bit_PCLMUL) == 0) return 0;
    if ((c & bit_OSXSAVE) == 0) return 1;
    unsigned int kept, rest;
    __asm__("xgetbv" : "=a"(kept), "=d"(rest) : "c"(0));
    if ((kept & 0xE6) != 0xE6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    return (b & bit_AVX512F) != 0 && (c & bit_VPCLMULQDQ) != 0 ? 2 : 1;
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

typedef long long crc32c_lanes __attribute__((vector_size(64), aligned(1)));

// Lanes of 128 bits as if so many bytes followed that `factors` are x^(8n + 31) and x^(8n - 33) for the halves of each
// lane, bits reflected, and the lanes that do follow.
__attribute__((target("avx512f,vpclmulqdq")))
static inline crc32c_lanes crc32c_folded(crc32c_lanes lanes, crc32c_lanes factors, crc32c_lanes next) {
    return __builtin_ia32_pclmulqdq512(lanes, factors, 0x00) ^ __builtin_ia32_pclmulqdq512(lanes, factors, 0x11)
        ^ next;
}

// The same as crc32c_update, sixteen lanes at once: their remainders are those of all bytes so far, folded into 256.
__attribute__((target("sse4.2,pclmul,avx512f,vpclmulqdq")))
static inline uint32_t crc32c_update_in_lanes(uint32_t crc, const void *bytes, size_t count) {
    if (count < 512) return crc32c_update(crc, bytes, count);
    const crc32c_lanes over256 = {
        0xDCB17AA4, 0xB9E02B86, 0xDCB17AA4, 0xB9E02B86, 0xDCB17AA4, 0xB9E02B86, 0xDCB17AA4, 0xB9E02B86};
    const crc32c_lanes over64 = {
        0x740EEF02, 0x9E4ADDF8, 0x740EEF02, 0x9E4ADDF8, 0x740EEF02, 0x9E4ADDF8, 0x740EEF02, 0x9E4ADDF8};
    const crc32c_lanes *next = (const crc32c_lanes *)bytes;
    crc32c_lanes first = next[0] ^ (crc32c_lanes){crc}, second = next[1], third = next[2], fourth = next[3];
    size_t left = count - 256;
    for (next += 4; left >= 256; left -= 256, next += 4) {
        first = crc32c_folded(first, over256, next[0]);
        second = crc32c_folded(second, over256, next[1]);
        third = crc32c_folded(third, over256, next[2]);
        fourth = crc32c_folded(fourth, over256, next[3]);
    }
    second = crc32c_folded(first, over64, second);
    third = crc32c_folded(second, over64, third);
    fourth = crc32c_folded(third, over64, fourth);
    uint64_t wide = 0;
    for (int word = 0; word < 8; word++) wide = __builtin_ia32_crc32di(wide, (uint64_t)fourth[word]);
    return crc32c_update((uint32_t)wide, next, left);
}
#else
static inline int crc32c_way(void) { return 0; }
static inline uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return crc;
}
static inline uint32_t crc32c_update_in_lanes(uint32_t crc, const void *bytes, size_t count) {
    return crc32c_update(crc, bytes, count);
}
#endif
