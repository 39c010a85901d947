/* Which instructions this CPU has, asked once when the library is loaded. */

#ifdef VECTORISED /* given on the command line: empty for sanitizers, which start after the clones are chosen */
#elif defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif
#define EXPORTED __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

enum { PLAIN, AVX2, AVX512, VNNI, AMX }; /* each has those before it; AVX2: and FMA; AVX512: F, BW, DQ and VL */

static int level = PLAIN;
static int has_bf16 = 0; /* products of bfloat16, beside AVX512 and what follows it */

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define X86
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define WITH_AVX2 __attribute__((target("avx2")))
#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt")))
#define WITH_FMA __attribute__((target("avx2,fma")))
#define WITH_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define WITH_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define WITH_AMX __attribute__((target("amx-tile,amx-int8")))

enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18, AMX_BITS = 1 << 24 | 1 << 25 }; /* tiles, and their 8-bit products */

/* Linux gives a process the registers of AMX only if it asks for them. */
static int may_use_amx(void) {
    unsigned a, b, c, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_BITS) != AMX_BITS) return 0;
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}
static int found_level(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return PLAIN;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return AVX2;
    if (!__builtin_cpu_supports("avx512vnni")) return AVX512;
    return may_use_amx() ? AMX : VNNI;
}
static int found_bf16(void) { /* and the system keeps the registers */
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16") != 0;
}
#else
static int found_level(void) { return PLAIN; }
static int found_bf16(void) { return 0; }
#endif

__attribute__((constructor)) static void find_level(void) { level = found_level(), has_bf16 = found_bf16(); }

EXPORTED int crosspoint_level(void) { return level; }
EXPORTED int crosspoint_has_bf16(void) { return level >= AVX512 && has_bf16; }

/* For tests, while nothing runs: use the CPU's level or, if that is lower, `highest`. */
EXPORTED void crosspoint_limit_level(int highest) {
    find_level();
    if (level > highest) level = highest;
}
