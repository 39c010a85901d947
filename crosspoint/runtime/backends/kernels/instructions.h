/* Which instructions this CPU has, asked once when the library is loaded. */

#ifdef VECTORISED /* given on the command line: empty for sanitizers, which start after the clones are chosen */
#elif defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif
#define EXPORTED __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define X86
#include <immintrin.h>
#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt")))
#define WITH_FMA __attribute__((target("avx2,fma")))

static int has_avx512 = 0, has_fma = 0;

__attribute__((constructor)) static void find_instructions(void) {
    __builtin_cpu_init();
    has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
